# Buckets of the lake: every one is versioned, encrypted, closed to the public and TLS-only.
mock_provider "aws" {
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::mocked" }
  }
}

variables {
  names = {
    bronze  = "lake-bronze"
    silver  = "lake-silver"
    gold    = "lake-gold"
    scripts = "lake-scripts"
  }
}

run "every_bucket_is_closed_encrypted_and_versioned" {
  module {
    source = "./modules/s3"
  }

  assert {
    condition     = toset(keys(aws_s3_bucket.this)) == toset(["bronze", "silver", "gold", "scripts"])
    error_message = "There must be one bucket per layer and one for scripts."
  }

  assert {
    condition = alltrue([
      for layer in keys(var.names) : alltrue([
        aws_s3_bucket_public_access_block.this[layer].block_public_acls,
        aws_s3_bucket_public_access_block.this[layer].block_public_policy,
        aws_s3_bucket_public_access_block.this[layer].ignore_public_acls,
        aws_s3_bucket_public_access_block.this[layer].restrict_public_buckets,
      ])
    ])
    error_message = "All four public access blocks must be on, for every bucket."
  }

  assert {
    condition = alltrue([
      for layer in keys(var.names) :
      aws_s3_bucket_versioning.this[layer].versioning_configuration[0].status == "Enabled"
    ])
    error_message = "Every bucket must be versioned."
  }

  assert {
    condition = alltrue([
      for layer in keys(var.names) :
      one(one(aws_s3_bucket_server_side_encryption_configuration.this[layer].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    ])
    error_message = "Without a key, every bucket must be encrypted by S3's own keys."
  }

  assert {
    condition = alltrue([
      for layer in keys(var.names) : anytrue([
        for statement in jsondecode(aws_s3_bucket_policy.tls_only[layer].policy).Statement :
        statement.Effect == "Deny"
        && statement.Principal == "*"
        && statement.Action == "s3:*"
        && statement.Condition.Bool["aws:SecureTransport"] == "false"
        && contains(statement.Resource, aws_s3_bucket.this[layer].arn)
        && contains(statement.Resource, "${aws_s3_bucket.this[layer].arn}/*")
      ])
    ])
    error_message = "Every bucket, and every object in it, must refuse requests without TLS."
  }

  assert {
    condition     = alltrue([for bucket in values(aws_s3_bucket.this) : !bucket.force_destroy])
    error_message = "By default, a bucket with data in it must not be destroyed."
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this) == 0
    error_message = "Without lifecycle_days there must be no lifecycle rule."
  }
}

run "a_key_turns_on_sse_kms_with_bucket_keys" {
  module {
    source = "./modules/s3"
  }

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = alltrue([
      for layer in keys(var.names) : alltrue([
        for rule in aws_s3_bucket_server_side_encryption_configuration.this[layer].rule :
        rule.bucket_key_enabled
        && one(rule.apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
        && one(rule.apply_server_side_encryption_by_default).kms_master_key_id == var.kms_key_arn
      ])
    ])
    error_message = "With a key, every bucket must use SSE-KMS with that key and a bucket key."
  }
}

run "lifecycle_rules_clean_up_everywhere_and_archive_bronze" {
  module {
    source = "./modules/s3"
  }

  variables {
    lifecycle_days = {
      incomplete_uploads = 7
      noncurrent         = 90
      bronze_ia          = 60
      bronze_archive     = 180
    }
  }

  assert {
    condition = alltrue([
      for layer in keys(var.names) : anytrue([
        for rule in aws_s3_bucket_lifecycle_configuration.this[layer].rule :
        rule.status == "Enabled"
        && try(rule.abort_incomplete_multipart_upload[0].days_after_initiation, 0) == 7
        && try(rule.noncurrent_version_expiration[0].noncurrent_days, 0) == 90
      ])
    ])
    error_message = "Every bucket must drop unfinished uploads and old versions."
  }

  assert {
    condition = {
      for layer in keys(var.names) : layer => length(flatten([
        for rule in aws_s3_bucket_lifecycle_configuration.this[layer].rule : [for transition in rule.transition : transition.storage_class]
      ]))
    } == { bronze = 2, silver = 0, gold = 0, scripts = 0 }
    error_message = "Bronze, and nothing else, must move to cheaper storage classes."
  }
}

run "ages_that_s3_would_refuse_are_refused" {
  command = plan

  module {
    source = "./modules/s3"
  }

  variables {
    lifecycle_days = {
      incomplete_uploads = 7
      noncurrent         = 90
      bronze_ia          = 10
      bronze_archive     = 20
    }
  }

  expect_failures = [var.lifecycle_days]
}

run "access_logs_go_to_a_bucket_that_only_s3_may_write" {
  module {
    source = "./modules/s3"
  }

  variables {
    names       = { bronze = "lake-bronze", silver = "lake-silver", athena = "lake-athena", logs = "lake-logs" }
    account_id  = "123456789012"
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    lifecycle_days = {
      incomplete_uploads = 7
      noncurrent         = 90
      bronze_ia          = 60
      bronze_archive     = 180
      access_logs        = 400
      results            = 14
    }
  }

  assert {
    condition = { for layer, logging in aws_s3_bucket_logging.this : layer => logging.target_prefix } == {
      athena = "athena/"
      bronze = "bronze/"
      silver = "silver/"
    }
    error_message = "Every bucket but that of the logs must be logged, each below its own prefix."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_s3_bucket_policy.tls_only["logs"].policy).Statement :
      [statement.Principal.Service, statement.Action, statement.Condition.StringEquals["aws:SourceAccount"]] if statement.Effect == "Allow"
    ] == [["logging.s3.amazonaws.com", "s3:PutObject", "123456789012"]]
    error_message = "S3 alone, for this account, may write access logs."
  }

  assert {
    condition     = !strcontains(aws_s3_bucket_policy.tls_only["bronze"].policy, "Allow")
    error_message = "No other bucket may be opened by its policy."
  }

  assert {
    condition = (
      one(one(aws_s3_bucket_server_side_encryption_configuration.this["logs"].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
      && one(one(aws_s3_bucket_server_side_encryption_configuration.this["bronze"].rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    )
    error_message = "S3 delivers access logs to SSE-S3 buckets only; the others must use the key."
  }

  assert {
    condition = {
      for layer in keys(var.names) : layer => [
        for rule in aws_s3_bucket_lifecycle_configuration.this[layer].rule : rule.expiration[0].days if rule.id == "expire"
      ]
    } == { bronze = [], silver = [], athena = [14], logs = [400] }
    error_message = "Results and access logs must expire, data must not."
  }
}

run "access_logs_of_an_unknown_account_are_refused" {
  command = plan

  module {
    source = "./modules/s3"
  }

  variables {
    names = { bronze = "lake-bronze", logs = "lake-logs" }
  }

  expect_failures = [var.account_id]
}

run "names_that_s3_would_refuse_are_refused" {
  command = plan

  module {
    source = "./modules/s3"
  }

  variables {
    names = { bronze = "a-very-long-prefix-x-a-very-long-stage-bronze-and-a-very-long-suffix" }
  }

  expect_failures = [var.names]
}
