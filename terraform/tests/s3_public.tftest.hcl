# Buckets with masked copies: absent unless asked for, and writable by the world only if meant.
mock_provider "aws" {}

variables {
  names = {
    silver = "lake-public-silver"
    gold   = "lake-public-gold"
  }
}

run "nothing_exists_by_default" {
  module {
    source = "./modules/s3_public"
  }

  assert {
    condition     = length(aws_s3_bucket.this) + length(aws_s3_bucket_policy.this) + length(output.buckets) == 0
    error_message = "Without asking there must be no public bucket."
  }
}

run "read_lets_anyone_read_and_nobody_write" {
  module {
    source = "./modules/s3_public"
  }

  variables {
    access = "read"
  }

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_s3_bucket_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : [
          for action in flatten([statement.Action]) : contains(["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"], action)
        ] if statement.Effect == "Allow"
      ]
    ]))
    error_message = "With access = read, the policy must allow listing and reading, nothing else."
  }

  assert {
    condition = alltrue([
      for layer in keys(var.names) : anytrue([
        for statement in jsondecode(aws_s3_bucket_policy.this[layer].policy).Statement :
        statement.Effect == "Deny" && statement.Action == "s3:*" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false"
      ])
    ])
    error_message = "Public buckets must refuse requests without TLS too."
  }

  assert {
    condition = alltrue([
      for layer in keys(var.names) :
      aws_s3_bucket_versioning.this[layer].versioning_configuration[0].status == "Enabled"
      && one(one(aws_s3_bucket_server_side_encryption_configuration.this[layer].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
      && aws_s3_bucket_public_access_block.this[layer].block_public_acls
      && aws_s3_bucket_public_access_block.this[layer].ignore_public_acls
    ])
    error_message = "Public buckets must be versioned and encrypted, and opened by policy only, never by ACL."
  }
}

run "public_copies_are_logged_and_cleaned_up_where_the_lake_is" {
  module {
    source = "./modules/s3_public"
  }

  variables {
    access         = "read"
    logs_bucket    = "lake-logs"
    lifecycle_days = { incomplete_uploads = 3, noncurrent = 7 }
  }

  assert {
    condition     = { for layer, logging in aws_s3_bucket_logging.this : layer => "${logging.target_bucket}/${logging.target_prefix}" } == { gold = "lake-logs/public_gold/", silver = "lake-logs/public_silver/" }
    error_message = "Who reads public copies must be logged."
  }

  assert {
    condition     = alltrue([for lifecycle in values(aws_s3_bucket_lifecycle_configuration.this) : lifecycle.rule[0].noncurrent_version_expiration[0].noncurrent_days == 7])
    error_message = "Old versions of public copies must expire."
  }
}

run "read_write_without_acknowledgement_is_refused" {
  command = plan

  module {
    source = "./modules/s3_public"
  }

  variables {
    access = "read_write"
  }

  expect_failures = [var.access]
}

run "read_write_with_acknowledgement_lets_anyone_write" {
  module {
    source = "./modules/s3_public"
  }

  variables {
    access             = "read_write"
    write_acknowledged = true
  }

  assert {
    condition = alltrue([
      for policy in values(aws_s3_bucket_policy.this) : anytrue([
        for statement in jsondecode(policy.policy).Statement :
        statement.Effect == "Allow" && contains(flatten([statement.Action]), "s3:PutObject")
      ])
    ])
    error_message = "With access = read_write and the acknowledgement, the policy must allow writing."
  }
}

run "an_unknown_access_is_refused" {
  command = plan

  module {
    source = "./modules/s3_public"
  }

  variables {
    access = "everything"
  }

  expect_failures = [var.access]
}
