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

module "quicksight" {
  source = "../.."

  name       = "my-lake"
  account_id = data.aws_caller_identity.current.account_id
  workgroup  = "my-lake"
  database   = "my_lake_gold"
  owner_arn  = "arn:aws:quicksight:eu-central-1:${data.aws_caller_identity.current.account_id}:group/default/authors"
  marts = {
    loan_portfolio = { columns = [
      { name = "product", type = "string" },
      { name = "exposure", type = "decimal(28,2)" },
    ] }
  }
}
