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

module "lake_formation" {
  source = "../.."

  name       = "my-lake"
  databases  = { bronze = "my_lake_bronze", silver = "my_lake_silver", gold = "my_lake_gold", quarantine = "my_lake_quarantine", ops = "my_lake_ops" }
  buckets    = { silver = "my-lake-silver", gold = "my-lake-gold" }
  tables     = { "silver/customers" = { email = "email", full_name = "name" } }
  account_id = data.aws_caller_identity.current.account_id

  # Once the jobs have made the tables.
  tag_columns = true
  readers = {
    marketing = {
      principal_arn = "arn:aws:iam::${data.aws_caller_identity.current.account_id}:role/marketing"
      pii_classes   = ["email"]
    }
  }
}
