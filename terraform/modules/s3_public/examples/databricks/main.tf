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

module "s3_public" {
  source = "../.."

  names = { silver = "my-lake-public-silver", gold = "my-lake-public-gold" }

  # Nothing is public: one Databricks workspace reads the masked copies through a role.
  access = "none"
  external_location = {
    name        = "my-lake"
    account_id  = data.aws_caller_identity.current.account_id
    external_id = "11111111-2222-3333-4444-555555555555" # shown by Unity Catalog
  }
}
