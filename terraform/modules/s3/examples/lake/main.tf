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

module "s3" {
  source = "../.."

  names = {
    bronze  = "my-lake-bronze"
    silver  = "my-lake-silver"
    gold    = "my-lake-gold"
    scripts = "my-lake-scripts"
    athena  = "my-lake-athena"
    logs    = "my-lake-logs" # gets the access logs of the others
  }
  account_id = data.aws_caller_identity.current.account_id

  lifecycle_days = {
    incomplete_uploads = 7
    noncurrent         = 90
    bronze_ia          = 60
    bronze_archive     = 180
  }
}
