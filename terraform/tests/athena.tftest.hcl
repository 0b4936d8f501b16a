# The workgroup: what a query may do is not the caller's choice.
mock_provider "aws" {}

variables {
  name           = "lake-dev"
  databases      = { gold = "lake_dev_gold", ops = "lake_dev_ops" }
  results_bucket = "lake-dev-athena"
  scan_limit_gib = 10
}

run "results_and_limits_are_enforced" {
  module {
    source = "./modules/athena"
  }

  assert {
    condition = alltrue([
      for configuration in aws_athena_workgroup.this.configuration :
      configuration.enforce_workgroup_configuration && configuration.bytes_scanned_cutoff_per_query == 10737418240
      && one(configuration.result_configuration).output_location == "s3://lake-dev-athena/results/"
      && one(one(configuration.result_configuration).encryption_configuration).encryption_option == "SSE_S3"
    ])
    error_message = "The workgroup must enforce its place for results, their encryption, and the limit."
  }

  assert {
    condition     = alltrue([for query in values(aws_athena_named_query.this) : startswith(query.query, "SELECT ") && startswith(query.database, "lake_dev_")])
    error_message = "Named queries must read the stage's own databases, and only read."
  }

  assert {
    condition     = !aws_athena_workgroup.this.force_destroy
    error_message = "By default, a workgroup with queries of others must not be destroyed."
  }
}

run "a_key_encrypts_results" {
  module {
    source = "./modules/athena"
  }

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = alltrue([
      for encryption in one(one(aws_athena_workgroup.this.configuration).result_configuration).encryption_configuration :
      encryption.encryption_option == "SSE_KMS" && encryption.kms_key_arn == var.kms_key_arn
    ])
    error_message = "Results must be encrypted with the key."
  }
}

run "a_limit_below_one_is_refused" {
  command = plan

  module {
    source = "./modules/athena"
  }

  variables {
    scan_limit_gib = 0.5
  }

  expect_failures = [var.scan_limit_gib]
}
