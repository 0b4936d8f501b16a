# The configuration that says who delivers.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  environment  = "prod"
  state_bucket = "finlake-state-123456789012"
}

run "one_role_looks_and_one_changes" {
  command = plan

  variables {
    github = { repository = "bank/lake", provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }

  assert {
    condition     = toset(keys(output.role_arns)) == toset(["plan", "apply"])
    error_message = "There must be a role that looks and one that changes."
  }
}
