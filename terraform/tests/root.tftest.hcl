# The whole root module: names, settings, and what differs between stages.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
  }

  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/mocked" }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::mocked" }
  }

  mock_resource "aws_quicksight_data_source" {
    defaults = { arn = "arn:aws:quicksight:eu-central-1:123456789012:datasource/mocked" }
  }

  mock_resource "aws_quicksight_data_set" {
    defaults = { arn = "arn:aws:quicksight:eu-central-1:123456789012:dataset/mocked" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:mocked" }
  }
}

variables {
  environment = "prod"
  wheel_path  = "tests/fixtures/finlake-0.0.0-py3-none-any.whl"
  script_path = "tests/fixtures/glue_job.py"
  entities = {
    accounts  = { description = "One row per account.", parents = ["customers"] }
    customers = { description = "One row per customer.", parents = [], history = true, pii = { email = "email" } }
  }
  gold_marts = {
    customer_360 = { columns = [{ name = "customer_id", type = "string" }, { name = "full_name", type = "string", pii = "name" }] }
  }
  kpis = {
    customers = { title = "Customers", mart = "customer_360", expression = "count({customer_id})", unit = "count", owner = "branch manager", by = { column = "customer_id", type = "string" } }
  }
}

run "a_stage_is_private_unless_told_otherwise" {
  variables {
    bucket_suffix = "123456789012"
  }

  assert {
    condition = output.settings == {
      AWS_REGION         = "eu-central-1"
      FINLAKE_ENV        = "prod"
      FINLAKE_PREFIX     = "finlake"
      FINLAKE_BRONZE_URI = "s3://finlake-prod-bronze-123456789012"
      FINLAKE_SILVER_URI = "s3://finlake-prod-silver-123456789012"
      FINLAKE_GOLD_URI   = "s3://finlake-prod-gold-123456789012"
    }
    error_message = "The settings must name the stage's buckets, and no public one."
  }

  assert {
    condition = output.databases == {
      bronze     = "finlake_prod_bronze"
      silver     = "finlake_prod_silver"
      gold       = "finlake_prod_gold"
      quarantine = "finlake_prod_quarantine"
      ops        = "finlake_prod_ops"
    }
    error_message = "Databases must be named after prefix, stage and layer."
  }

  assert {
    condition     = toset(keys(output.role_arns)) == toset(["silver-accounts", "silver-customers", "gold", "maintenance", "crawler"])
    error_message = "There must be one role per job and one for the crawlers."
  }
}

run "public_copies_have_buckets_and_settings_of_their_own" {
  variables {
    environment   = "local"
    prefix        = "my-bank"
    public_access = "read"
  }

  assert {
    condition = (
      output.settings.FINLAKE_PUBLIC_SILVER_URI == "s3://my-bank-local-public-silver"
      && output.settings.FINLAKE_PUBLIC_GOLD_URI == "s3://my-bank-local-public-gold"
    )
    error_message = "With public access on, the settings must name the public buckets."
  }

  assert {
    condition     = output.databases.silver == "my_bank_local_silver"
    error_message = "Dashes must become underscores in database names."
  }
}

run "a_first_plan_with_a_key_of_its_own_works" {
  command = plan

  variables {
    bucket_suffix  = "123456789012"
    create_kms_key = true
    workflow       = { schedule = "cron(15 3 * * ? *)" }
    lifecycle_days = {
      incomplete_uploads = 7
      noncurrent         = 90
      bronze_ia          = 60
      bronze_archive     = 180
    }
  }

  assert {
    condition     = output.workflow == "finlake-prod" && output.athena_workgroup == "finlake-prod"
    error_message = "What counts on the key must be planned before the key is there."
  }
}

run "nothing_optional_is_there_unless_told" {
  command = plan

  assert {
    condition = (
      length(module.network) + length(module.lake_formation) + length(module.quicksight) + length(module.sagemaker) == 0
      && output.external_location_role_arn == null && output.model_package_group == null
      && !contains(keys(output.jobs), "scoring") && !contains(keys(output.role_arns), "scoring")
    )
    error_message = "Network, Lake Formation, QuickSight, SageMaker and Databricks must be asked for."
  }
}

run "everything_optional_fits_together" {
  variables {
    bucket_suffix  = "123456789012"
    lake_formation = { tag_columns = true }
    quicksight     = { owner_arn = "arn:aws:quicksight:eu-central-1:123456789012:group/default/authors" }
    sagemaker      = { image = "492215442770.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3", scoring = true }
    databricks     = { external_id = "11111111-2222-3333-4444-555555555555" }
    network = {
      vpc_id          = "vpc-1"
      subnet_ids      = ["subnet-1"]
      route_table_ids = ["rtb-1"]
      cidr_blocks     = ["10.0.0.0/16"]
    }
  }

  assert {
    condition     = output.lake_formation_tag.values == toset(["none", "unclear", "email", "name"])
    error_message = "The tag's values must be the classes of contracts and marts."
  }

  assert {
    condition     = toset(keys(output.endpoint_ids)) == toset(["s3", "glue", "logs"]) && keys(output.quicksight_data_sets) == ["customer_360"] && output.training_state_machine_arn != null
    error_message = "What was asked for must be there."
  }

  assert {
    condition     = output.jobs.scoring == "finlake-prod-scoring" && output.model_package_group == "finlake-prod-models"
    error_message = "Scoring must be a job of the stage, by models of the stage's group."
  }

  assert {
    condition     = output.settings.FINLAKE_PUBLIC_SILVER_URI == "s3://finlake-prod-public-silver-123456789012" && output.external_location_role_arn != null
    error_message = "A Databricks workspace must get masked copies and a role."
  }
}

run "what_asks_athena_needs_athena" {
  command = plan

  variables {
    athena     = false
    quicksight = { owner_arn = "arn:aws:quicksight:eu-central-1:123456789012:group/default/authors" }
    sagemaker  = {}
  }

  expect_failures = [var.quicksight, var.sagemaker]
}

run "two_keys_are_refused" {
  command = plan

  variables {
    create_kms_key = true
    kms_key_arn    = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  expect_failures = [var.create_kms_key]
}

run "an_unknown_parent_is_refused" {
  command = plan

  variables {
    entities = { accounts = { description = "One row per account.", parents = ["clients"] } }
  }

  expect_failures = [var.entities]
}

run "names_that_aws_would_refuse_are_refused" {
  command = plan

  variables {
    environment   = "Prod"
    prefix        = "my_bank"
    bucket_suffix = "-x"
  }

  expect_failures = [var.environment, var.prefix, var.bucket_suffix]
}
