# Roles: each job sees its own data and its parents', and nothing else.
mock_provider "aws" {}

variables {
  name = "lake-dev"
  entities = {
    accounts     = ["customers"]
    customers    = []
    loans        = ["customers"]
    transactions = ["accounts"]
  }
  buckets = {
    bronze  = "lake-dev-bronze"
    silver  = "lake-dev-silver"
    gold    = "lake-dev-gold"
    scripts = "lake-dev-scripts"
  }
  databases = {
    bronze     = "lake_dev_bronze"
    silver     = "lake_dev_silver"
    gold       = "lake_dev_gold"
    quarantine = "lake_dev_quarantine"
    ops        = "lake_dev_ops"
  }
  log_group_prefix = "/aws-glue/jobs/lake-dev"
  account_id       = "123456789012"
  region           = "eu-central-1"
}

run "least_privilege" {
  module {
    source = "./modules/iam"
  }

  assert {
    condition     = toset(keys(aws_iam_role.this)) == toset(["silver-accounts", "silver-customers", "silver-loans", "silver-transactions", "gold", "crawler"])
    error_message = "There must be one role per job and one for the crawlers."
  }

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : [
          for action in flatten([statement.Action]) : !strcontains(action, "*")
        ]
      ]
    ]))
    error_message = "No policy may use a wildcard in an action."
  }

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement :
        statement.Sid == "WriteMetrics" && statement.Condition.StringEquals["cloudwatch:namespace"] == "Glue"
        if contains(flatten([statement.Resource]), "*")
      ]
    ]))
    error_message = "Only PutMetricData, which knows no resource, may use the resource *, narrowed to Glue's namespace."
  }

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : [
          for resource in flatten([statement.Resource]) : strcontains(resource, "lake-dev") || strcontains(resource, "lake_dev") || endswith(resource, ":catalog") || strcontains(resource, ":log-group:/aws-glue/crawlers")
        ] if statement.Sid != "WriteMetrics"
      ]
    ]))
    error_message = "Every resource must belong to this stage (the Glue catalogue itself and the crawlers' shared log group have no stage)."
  }

  assert {
    condition = alltrue([
      for role in values(aws_iam_role.this) :
      jsondecode(role.assume_role_policy).Statement[0].Principal.Service == "glue.amazonaws.com"
      && jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"
    ])
    error_message = "Only Glue, for this account, may assume the roles."
  }

  assert {
    condition = !anytrue([
      for word in ["loans", "transactions"] : strcontains(aws_iam_role_policy.this["silver-accounts"].policy, word)
    ])
    error_message = "The accounts job must not see entities that are not its parents."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["silver-accounts"].policy).Statement : statement.Resource if statement.Sid == "ReadData"
    ])) == toset(["arn:aws:s3:::lake-dev-bronze/accounts/*", "arn:aws:s3:::lake-dev-silver/customers/*"])
    error_message = "The accounts job must read its own Bronze files and its parents' Silver tables."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["silver-accounts"].policy).Statement : statement.Resource if statement.Sid == "WriteData"
      ])) == toset([
      "arn:aws:s3:::lake-dev-silver/accounts/*",
      "arn:aws:s3:::lake-dev-silver/accounts_history/*",
      "arn:aws:s3:::lake-dev-silver/_quarantine/accounts/*",
      "arn:aws:s3:::lake-dev-silver/_staging/accounts/*",
      "arn:aws:s3:::lake-dev-silver/_ops/*",
    ])
    error_message = "The accounts job must write its own Silver table, its history, quarantine, staging and the ledger, nothing else."
  }

  assert {
    condition = !anytrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["silver-accounts"].policy).Statement : [
        for resource in flatten([statement.Resource]) : endswith(resource, "/customers")
      ] if statement.Sid == "WriteCatalog"
    ]))
    error_message = "The accounts job must not change its parents' tables in the catalogue."
  }

  assert {
    condition = alltrue([
      for job in ["silver-accounts", "silver-transactions", "gold"] : anytrue([
        for statement in jsondecode(aws_iam_role_policy.this[job].policy).Statement :
        statement.Resource == ["arn:aws:logs:eu-central-1:123456789012:log-group:/aws-glue/jobs/lake-dev-${job}/*"] if statement.Sid == "WriteLogs"
      ])
    ])
    error_message = "A job must write to its own log groups."
  }

  assert {
    condition = !anytrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["crawler"].policy).Statement : [
        for action in flatten([statement.Action]) : contains(["s3:PutObject", "s3:DeleteObject", "glue:DeleteTable"], action)
      ]
    ]))
    error_message = "Crawlers must change no data and drop no table."
  }

  assert {
    condition     = !strcontains(jsonencode([for policy in values(aws_iam_role_policy.this) : policy.policy]), "kms:")
    error_message = "Without a key nobody may use KMS."
  }
}

run "public_copies_and_a_key_add_exactly_that" {
  module {
    source = "./modules/iam"
  }

  variables {
    public_buckets = { silver = "lake-dev-public-silver", gold = "lake-dev-public-gold" }
    kms_key_arn    = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = (
      strcontains(aws_iam_role_policy.this["silver-accounts"].policy, "arn:aws:s3:::lake-dev-public-silver/accounts/*")
      && !strcontains(aws_iam_role_policy.this["silver-accounts"].policy, "lake-dev-public-gold")
      && strcontains(aws_iam_role_policy.this["gold"].policy, "arn:aws:s3:::lake-dev-public-gold/*")
    )
    error_message = "Each job must write the masked copies of its own tables only."
  }

  assert {
    condition = alltrue([
      for policy in values(aws_iam_role_policy.this) : anytrue([
        for statement in jsondecode(policy.policy).Statement :
        statement.Sid == "UseKey" && statement.Resource == [var.kms_key_arn]
      ])
    ])
    error_message = "Every role must be able to use the key, and no other key."
  }

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : [
          for action in flatten([statement.Action]) : !strcontains(action, "*")
        ]
      ]
    ]))
    error_message = "No policy may use a wildcard in an action."
  }
}
