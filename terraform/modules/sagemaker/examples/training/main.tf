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

module "sagemaker" {
  source = "../.."

  name       = "my-lake"
  buckets    = { gold = "my-lake-gold", athena = "my-lake-athena", scripts = "my-lake-scripts" }
  database   = "my_lake_gold"
  workgroup  = "my-lake"
  code_path  = "${path.module}/../../../../../ml"
  image      = "492215442770.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
  account_id = data.aws_caller_identity.current.account_id
  region     = "eu-central-1"

  model_package_group = "my-lake-models"
}
