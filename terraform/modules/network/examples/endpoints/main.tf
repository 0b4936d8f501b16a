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

module "network" {
  source = "../.."

  name            = "my-lake"
  vpc_id          = "vpc-0123456789abcdef0"
  subnet_ids      = ["subnet-0123456789abcdef0"]
  route_table_ids = ["rtb-0123456789abcdef0"]
  cidr_blocks     = ["10.0.0.0/16"]
  buckets         = ["my-lake-bronze", "my-lake-silver", "my-lake-gold", "my-lake-scripts", "my-lake-athena"]
  account_id      = data.aws_caller_identity.current.account_id
  region          = "eu-central-1"
}
