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

variable "wheel_path" {
  description = "The wheel, as `make wheel` builds it."
  type        = string
}

module "glue" {
  source = "../.."

  name     = "my-lake"
  entities = { customers = "One row per customer.", accounts = "One row per account." }
  parents  = { customers = [], accounts = ["customers"] }
  workflow = { schedule = "cron(15 3 * * ? *)" } # UTC

  gold_marts = ["customer_360"]
  databases  = { bronze = "my_lake_bronze", silver = "my_lake_silver", gold = "my_lake_gold", quarantine = "my_lake_quarantine", ops = "my_lake_ops" }
  uris = {
    bronze     = "s3://my-lake-bronze"
    silver     = "s3://my-lake-silver"
    gold       = "s3://my-lake-gold"
    quarantine = "s3://my-lake-silver/_quarantine"
    ops        = "s3://my-lake-silver/_ops"
  }
  settings = { FINLAKE_BRONZE_URI = "s3://my-lake-bronze", FINLAKE_SILVER_URI = "s3://my-lake-silver", FINLAKE_GOLD_URI = "s3://my-lake-gold" }

  region           = "eu-central-1"
  scripts_bucket   = "my-lake-scripts"
  script_path      = "${path.module}/../../../../../pipeline/glue_job.py"
  constraints_path = "${path.module}/../../../../../constraints.txt"
  wheel_path       = var.wheel_path

  # As the module iam makes them.
  role_arns = {
    for role in ["silver-customers", "silver-accounts", "gold", "maintenance", "crawler"] :
    role => "arn:aws:iam::${data.aws_caller_identity.current.account_id}:role/my-lake-${role}"
  }

  log_group_prefix   = "/aws-glue/jobs/my-lake"
  log_retention_days = 365
  worker_type        = "G.1X"
  number_of_workers  = 2
  timeout_minutes    = 60
  max_retries        = 1
}
