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

module "athena" {
  source = "../.."

  name           = "my-lake"
  databases      = { gold = "my_lake_gold", ops = "my_lake_ops" }
  results_bucket = "my-lake-athena"
  scan_limit_gib = 50
}
