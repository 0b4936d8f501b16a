# Who delivers: without stored keys, within the boundary, and never at the data.
mock_provider "aws" {
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
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

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:mocked" }
  }

  mock_resource "aws_codeconnections_connection" {
    defaults = { arn = "arn:aws:codeconnections:eu-central-1:123456789012:connection/11111111-2222-3333-4444-555555555555" }
  }
}

variables {
  name                     = "lake-prod"
  environment              = "prod"
  account_id               = "123456789012"
  region                   = "eu-central-1"
  state_bucket             = "lake-state"
  permissions_boundary_arn = "arn:aws:iam::123456789012:policy/lake-prod-boundary"
}

run "github_proves_itself_and_only_the_environment_may_apply" {
  module {
    source = "./modules/cicd"
  }

  variables {
    github = { repository = "bank/lake" }
  }

  assert {
    condition = jsondecode(aws_iam_role.this["apply"].assume_role_policy).Statement == [{
      Sid       = "GitHub"
      Effect    = "Allow"
      Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = { StringEquals = {
        "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
        "token.actions.githubusercontent.com:sub" = ["repo:bank/lake:environment:prod"]
      } }
    }]
    error_message = "Only a workflow in the stage's environment may change the stage."
  }

  assert {
    condition     = toset(keys(aws_iam_role.this)) == toset(["plan", "apply"]) && length(aws_codepipeline.this) == 0
    error_message = "Without a pipeline there must be nothing of it."
  }
}

run "a_delivery_stays_within_the_boundary_and_away_from_data" {
  module {
    source = "./modules/cicd"
  }

  variables {
    github = { repository = "bank/lake" }
  }

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : [for action in statement.Action : !strcontains(action, "*")]
      ]
    ]))
    error_message = "No action may be a wildcard."
  }

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_policy.this) : [
        for statement in jsondecode(policy.policy).Statement :
        try(statement.Condition.StringEquals["iam:PermissionsBoundary"], "") == var.permissions_boundary_arn
        if length(setintersection(statement.Action, ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"])) > 0
      ]
    ]))
    error_message = "Roles may be made and given rights within the boundary only."
  }

  assert {
    condition = !anytrue(flatten([
      for policy in values(aws_iam_policy.this) : [
        for statement in jsondecode(policy.policy).Statement :
        length(setintersection(statement.Action, ["iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeleteRolePermissionsBoundary", "iam:CreateUser", "iam:AttachRolePolicy"])) > 0
      ]
    ]))
    error_message = "A delivery must not be able to change or drop the boundary."
  }

  assert {
    condition = toset(flatten([
      for policy in values(aws_iam_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : statement.Resource if contains(statement.Action, "s3:GetObject")
      ]
      ])) == toset([
      "arn:aws:s3:::lake-prod-scripts*/jobs/*", "arn:aws:s3:::lake-prod-scripts*/wheels/*",
      "arn:aws:s3:::lake-state/env:/prod/finlake/terraform.tfstate", "arn:aws:s3:::lake-state/env:/prod/finlake/terraform.tfstate.tflock",
    ])
    error_message = "Of all objects, only code and state may be read."
  }

  assert {
    condition = alltrue(flatten([
      for part in ["plan-data", "plan-control"] : [
        for statement in jsondecode(aws_iam_policy.this[part].policy).Statement : [
          for action in statement.Action : can(regex(":(Get|List|Describe|Decrypt)", action))
        ]
      ]
    ]))
    error_message = "The role that plans must only look."
  }
}

run "a_pipeline_tests_plans_asks_and_applies_what_was_approved" {
  module {
    source = "./modules/cicd"
  }

  variables {
    pipeline = { repository = "bank/lake" }
  }

  assert {
    condition     = [for stage in aws_codepipeline.this[0].stage : stage.name] == ["Source", "Test", "Plan", "Approve", "Apply"]
    error_message = "A person must approve between plan and apply."
  }

  assert {
    condition = (
      strcontains(one(aws_codebuild_project.this["plan"].source).buildspec, "-out=approved.tfplan")
      && strcontains(one(aws_codebuild_project.this["apply"].source).buildspec, "terraform apply -input=false approved.tfplan")
      && one([for stage in aws_codepipeline.this[0].stage : one(stage.action).input_artifacts if stage.name == "Apply"]) == tolist(["planned"])
    )
    error_message = "What is applied must be the plan that was approved."
  }

  assert {
    condition = alltrue([
      for build in ["plan", "apply"] :
      strcontains(one(aws_codebuild_project.this[build].source).buildspec, "-backend-config=use_lockfile=true")
      && !strcontains(one(aws_codebuild_project.this[build].source).buildspec, "encrypt")
    ])
    error_message = "The state must be locked, and encrypted as its bucket says: encrypt = true without a key asks for S3's own."
  }

  assert {
    condition = alltrue([
      for role in ["plan", "apply", "test"] : alltrue([
        for statement in jsondecode(aws_iam_role.this[role].assume_role_policy).Statement :
        statement.Principal == { Service = "codebuild.amazonaws.com" } && statement.Condition.StringEquals["aws:SourceAccount"] == "123456789012"
      ])
    ])
    error_message = "Only this account's CodeBuild may take on the roles."
  }

  assert {
    condition     = length([for policy in keys(aws_iam_role_policy_attachment.this) : policy if startswith(policy, "test")]) == 0
    error_message = "Tests must have no rights on the stage."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.artifacts[0].restrict_public_buckets && output.connection_arn != null
    error_message = "Artifacts must be closed, and there must be a connection to GitHub."
  }
}

run "a_wildcard_repository_is_refused" {
  command = plan

  module {
    source = "./modules/cicd"
  }

  variables {
    github = { repository = "bank/*" }
  }

  expect_failures = [var.github]
}

run "roles_that_nobody_could_take_on_are_refused" {
  command = plan

  module {
    source = "./modules/cicd"
  }

  expect_failures = [aws_iam_role.this]
}
