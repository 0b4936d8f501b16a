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

run "an_external_location_lets_one_workspace_read_and_the_public_nothing" {
  module {
    source = "./modules/s3_public"
  }

  variables {
    external_location = { name = "lake-dev", account_id = "123456789012", external_id = "11111111-2222-3333-4444-555555555555" }
  }

  assert {
    condition = alltrue([
      for policy in values(aws_s3_bucket_policy.this) : alltrue([
        for statement in jsondecode(policy.policy).Statement : statement.Effect == "Deny"
      ])
    ])
    error_message = "The buckets must let nobody in by their own policies."
  }

  assert {
    condition = length(aws_s3_bucket.this) == 2 && alltrue([
      for block in values(aws_s3_bucket_public_access_block.this) : block.block_public_policy && block.restrict_public_buckets
    ])
    error_message = "Public access must be blocked whole."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role.external[0].assume_role_policy).Statement :
      statement.Condition.StringEquals["sts:ExternalId"] == "11111111-2222-3333-4444-555555555555"
    ])
    error_message = "Without the external id nobody may take the role on."
  }

  assert {
    condition     = jsondecode(aws_iam_role.external[0].assume_role_policy).Statement[1].Condition.ArnEquals["aws:PrincipalArn"] == "arn:aws:iam::123456789012:role/lake-dev-external-location"
    error_message = "Of the own account, only the role itself may take it on."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.external[0].policy).Statement : statement.Action
    ])) == toset(["s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject", "sts:AssumeRole"])
    error_message = "The role may read the copies, and nothing else."
  }
}

run "an_external_location_without_its_id_is_refused" {
  command = plan

  module {
    source = "./modules/s3_public"
  }

  variables {
    external_location = { name = "lake-dev", account_id = "123456789012", external_id = "" }
  }

  expect_failures = [var.external_location]
}
