terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = "eu-central-1"
}

data "aws_caller_identity" "current" {}

module "kms" {
  source = "../.."

  name             = "my-lake"
  account_id       = data.aws_caller_identity.current.account_id
  region           = "eu-central-1"
  log_group_prefix = "/aws-glue/jobs/my-lake"
}
