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

module "monitoring" {
  source = "../.."

  name       = "my-lake"
  account_id = data.aws_caller_identity.current.account_id
  region     = "eu-central-1"

  # As the module glue makes them.
  jobs = { silver-customers = "my-lake-silver-customers", gold = "my-lake-gold" }
  log_groups = {
    "silver-customers/output" = "/aws-glue/jobs/my-lake-silver-customers/output"
    "gold/output"             = "/aws-glue/jobs/my-lake-gold/output"
  }

  alarm_emails       = ["data-team@example.com"]
  quarantine_percent = 5
  freshness_hours    = 26
}
