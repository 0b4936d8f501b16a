# Roles: each job sees its own data and its parents', and nothing else.
mock_provider "aws" {
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/mocked" }
  }
}

variables {
  name = "lake-dev"
  entities = {
    accounts     = ["customers"]
    customers    = []
    loans        = ["customers"]
    transactions = ["accounts"]
  }
  gold_inputs = ["accounts", "customers", "customers_history", "loans", "transactions"]
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
    condition     = toset(keys(aws_iam_role.this)) == toset(["silver-accounts", "silver-customers", "silver-loans", "silver-transactions", "gold", "maintenance", "crawler"])
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
      && jsondecode(role.assume_role_policy).Statement[0].Condition.StringEqualsIfExists["aws:SourceAccount"] == "123456789012"
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
      for statement in jsondecode(aws_iam_role_policy.this["gold"].policy).Statement : statement.Resource if statement.Sid == "ReadData"
    ])) == toset([for table in var.gold_inputs : "arn:aws:s3:::lake-dev-silver/${table}/*"])
    error_message = "The Gold job must read the Silver tables that its marts are built from, and no other."
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

run "a_key_may_be_used_and_public_copies_are_no_jobs_business" {
  module {
    source = "./modules/iam"
  }

  variables {
    public_buckets = { silver = "lake-dev-public-silver", gold = "lake-dev-public-gold" }
    kms_key_arn    = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = !anytrue([
      for policy in concat(values(aws_iam_role_policy.this), aws_iam_policy.boundary) : strcontains(policy.policy, "public")
    ])
    error_message = "Masked copies are made by people: no job may write them."
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

run "maintenance_reads_no_bronze_and_changes_no_catalogue" {
  module {
    source = "./modules/iam"
  }

  assert {
    condition = !anytrue([
      for word in ["bronze", "glue:", "DeleteObjectVersion"] : strcontains(aws_iam_role_policy.this["maintenance"].policy, word)
    ])
    error_message = "Maintenance rewrites tables; it must not see Bronze, the catalogue, or old versions."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["maintenance"].policy).Statement : statement.Resource if statement.Sid == "WriteData"
    ])) == toset(["arn:aws:s3:::lake-dev-silver/*", "arn:aws:s3:::lake-dev-gold/*"])
    error_message = "Maintenance must reach all tables of Silver and Gold."
  }
}

run "scoring_may_find_a_model_read_features_and_write_scores" {
  module {
    source = "./modules/iam"
  }

  variables {
    scoring_group = "lake-dev-models"
  }

  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.this["scoring"].policy).Statement : statement.Sid => toset(statement.Resource)
      if contains(["ReadData", "ReadModel", "WriteData", "HoldGoldsLock", "FindModel"], statement.Sid)
      } == {
      ReadData  = toset(["arn:aws:s3:::lake-dev-gold/loan_default_features/*"])
      ReadModel = toset(["arn:aws:s3:::lake-dev-scripts/models/*"])
      WriteData = toset(["arn:aws:s3:::lake-dev-gold/loan_default_scores/*"])

      HoldGoldsLock = toset(["arn:aws:s3:::lake-dev-silver/_ops/_locks/gold.json"])
      FindModel = toset([
        "arn:aws:sagemaker:eu-central-1:123456789012:model-package-group/lake-dev-models",
        "arn:aws:sagemaker:eu-central-1:123456789012:model-package/lake-dev-models/*",
      ])
    }
    error_message = "Scoring must read features and models of its group, and write scores and Gold's lock, nothing else."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.this["scoring"].policy).Statement :
      alltrue([for resource in statement.Resource : endswith(resource, ":catalog") || endswith(resource, "database/lake_dev_gold") || endswith(resource, "table/lake_dev_gold/loan_default_scores")])
      if statement.Sid == "WriteCatalog"
    ])
    error_message = "Scoring must register no table but its own."
  }

  assert {
    condition = alltrue(flatten([
      for policy in [aws_iam_role_policy.this["scoring"].policy, aws_iam_policy.boundary[0].policy] : [
        for statement in jsondecode(policy).Statement : [
          for action in statement.Action : contains(["sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup", "sagemaker:ListModelPackages"], action)
          if startswith(action, "sagemaker:")
        ]
      ]
    ]))
    error_message = "Nobody may change, approve or register a model."
  }

  assert {
    condition = length(setsubtract(
      flatten([for policy in values(aws_iam_role_policy.this) : [for statement in jsondecode(policy.policy).Statement : statement.Action]]),
      flatten([for statement in jsondecode(aws_iam_policy.boundary[0].policy).Statement : statement.Action]),
    )) == 0 && length(aws_iam_policy.boundary[0].policy) <= 6144
    error_message = "The boundary must allow each action of the roles' policies, within AWS's limit."
  }

  assert {
    condition     = !anytrue([for role, policy in aws_iam_role_policy.this : strcontains(policy.policy, "sagemaker:") if role != "scoring"])
    error_message = "No other role may look at models."
  }
}

run "every_role_has_a_boundary_that_allows_what_its_policy_does_and_no_more_services" {
  module {
    source = "./modules/iam"
  }

  assert {
    condition     = alltrue([for role in values(aws_iam_role.this) : role.permissions_boundary == aws_iam_policy.boundary[0].arn])
    error_message = "Every role must have the boundary."
  }

  assert {
    condition = length(setsubtract(
      flatten([for policy in values(aws_iam_role_policy.this) : [for statement in jsondecode(policy.policy).Statement : statement.Action]]),
      flatten([for statement in jsondecode(aws_iam_policy.boundary[0].policy).Statement : statement.Action]),
    )) == 0
    error_message = "The boundary must allow each action of the roles' policies, or they could not work."
  }

  assert {
    condition = alltrue([
      for action in flatten([for statement in jsondecode(aws_iam_policy.boundary[0].policy).Statement : statement.Action]) :
      can(regex("^(s3|glue|logs|cloudwatch|kms):[A-Za-z]+$", action))
    ])
    error_message = "The boundary must name actions, of the services that jobs need."
  }

  assert {
    condition     = length(aws_iam_policy.boundary[0].policy) <= 6144
    error_message = "AWS refuses a managed policy of more than 6,144 characters."
  }

  assert {
    condition     = length(aws_iam_policy.erasure) == 0
    error_message = "Without asking nobody gets a policy to erase persons."
  }
}

run "a_boundary_of_the_platform_team_is_taken" {
  module {
    source = "./modules/iam"
  }

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/platform"
  }

  assert {
    condition     = length(aws_iam_policy.boundary) == 0 && alltrue([for role in values(aws_iam_role.this) : role.permissions_boundary == var.permissions_boundary_arn])
    error_message = "Every role must have the boundary that was named, and no other may be made."
  }
}

run "people_who_erase_persons_may_delete_old_versions_of_data_only" {
  module {
    source = "./modules/iam"
  }

  variables {
    erasure_policy = true
    public_buckets = { silver = "lake-dev-public-silver", gold = "lake-dev-public-gold" }
  }

  assert {
    condition = alltrue([
      for action in ["s3:DeleteObjectVersion", "s3:ListBucketVersions", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"] :
      contains(flatten([for statement in jsondecode(aws_iam_policy.erasure[0].policy).Statement : statement.Action]), action)
    ])
    error_message = "An erasure replaces files, deletes others, and deletes old versions."
  }

  assert {
    condition = toset([
      for resource in flatten([for statement in jsondecode(aws_iam_policy.erasure[0].policy).Statement : statement.Resource]) : trimsuffix(resource, "/*")
    ]) == toset([for name in ["bronze", "silver", "gold", "public-silver", "public-gold"] : "arn:aws:s3:::lake-dev-${name}"])
    error_message = "It must reach all layers and masked copies, but neither scripts nor logs."
  }
}

run "people_who_publish_may_read_tables_and_write_copies" {
  module {
    source = "./modules/iam"
  }

  variables {
    publishing_policy = true
    public_buckets    = { silver = "lake-dev-public-silver", gold = "lake-dev-public-gold" }
  }

  assert {
    condition = {
      for statement in jsondecode(aws_iam_policy.publishing[0].policy).Statement : statement.Sid => toset(statement.Resource) if contains(statement.Action, "s3:GetObject")
      } == {
      Read        = toset(["arn:aws:s3:::lake-dev-silver/*", "arn:aws:s3:::lake-dev-gold/*"])
      WriteCopies = toset(["arn:aws:s3:::lake-dev-public-silver/*", "arn:aws:s3:::lake-dev-public-gold/*"])
    }
    error_message = "It must read Silver and Gold, and write the copies and nothing else."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_policy.publishing[0].policy).Statement : statement.Resource if contains(statement.Action, "s3:PutObject")
      ])) == toset([
      "arn:aws:s3:::lake-dev-public-silver/*", "arn:aws:s3:::lake-dev-public-gold/*", "arn:aws:s3:::lake-dev-silver/_ops/_locks/public.json",
    ])
    error_message = "It must write nothing but the copies and their lock."
  }
}

run "nobody_can_publish_to_nowhere" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    publishing_policy = true
  }

  expect_failures = [aws_iam_policy.publishing]
}
