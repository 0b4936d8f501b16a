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

module "iam" {
  source = "../.."

  name             = "my-lake"
  entities         = { customers = [], accounts = ["customers"] }
  gold_inputs      = ["accounts", "customers"]
  buckets          = { bronze = "my-lake-bronze", silver = "my-lake-silver", gold = "my-lake-gold", scripts = "my-lake-scripts" }
  databases        = { bronze = "my_lake_bronze", silver = "my_lake_silver", gold = "my_lake_gold", quarantine = "my_lake_quarantine", ops = "my_lake_ops" }
  log_group_prefix = "/aws-glue/jobs/my-lake"
  account_id       = data.aws_caller_identity.current.account_id
  region           = "eu-central-1"
}
