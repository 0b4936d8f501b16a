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

module "cicd" {
  source = "../.."

  name         = "my-lake-prod"
  environment  = "prod"
  account_id   = data.aws_caller_identity.current.account_id
  region       = "eu-central-1"
  state_bucket = "my-lake-state"
  github       = { repository = "my-bank/my-lake" }

  permissions_boundary_arn = "arn:aws:iam::${data.aws_caller_identity.current.account_id}:policy/my-lake-prod-boundary"
}
