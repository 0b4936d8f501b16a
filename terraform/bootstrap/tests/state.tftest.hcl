# The bucket of the state: it holds everything that Terraform knows. Planned only: it is protected from being destroyed.
mock_provider "aws" {
  override_during = plan

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::finlake-state-123456789012" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }
}

variables {
  bucket = "finlake-state-123456789012"
}

run "the_state_is_versioned_encrypted_and_closed" {
  command = plan

  assert {
    condition = (
      aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
      && one(one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
      && aws_s3_bucket_public_access_block.state.block_public_acls
      && aws_s3_bucket_public_access_block.state.block_public_policy
      && aws_s3_bucket_public_access_block.state.ignore_public_acls
      && aws_s3_bucket_public_access_block.state.restrict_public_buckets
      && aws_kms_key.state.enable_key_rotation
    )
    error_message = "The state must be versioned, encrypted with a key that rotates, and closed to the public."
  }
}

run "the_state_is_reached_by_tls_only_locked_and_cleaned_up" {
  command = plan

  assert {
    condition = [for statement in jsondecode(aws_s3_bucket_policy.state.policy).Statement : [statement.Effect, statement.Action, statement.Condition.Bool["aws:SecureTransport"]]] == [
      ["Deny", "s3:*", "false"],
    ]
    error_message = "Without TLS nobody may reach the state, and the policy may let nobody in."
  }

  assert {
    condition     = one(one(aws_s3_bucket_lifecycle_configuration.state.rule).noncurrent_version_expiration).noncurrent_days == 365
    error_message = "Old states must be there for a year, and go then."
  }

  assert {
    condition = alltrue([
      for line in ["bucket       = \"finlake-state-123456789012\"", "use_lockfile = true", "kms_key_id   = \"arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555\""] :
      strcontains(output.backend, line)
    ])
    error_message = "The text for backend.tf must name the bucket, its key, and the lock."
  }
}

run "a_name_that_s3_would_refuse_is_refused" {
  command = plan

  variables {
    bucket = "Finlake_State"
  }

  expect_failures = [var.bucket]
}
