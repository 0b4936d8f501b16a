# The stage's key.
mock_provider "aws" {}

variables {
  name             = "lake-dev"
  account_id       = "123456789012"
  region           = "eu-central-1"
  log_group_prefix = "/aws-glue/jobs/lake-dev"
}

run "the_key_rotates_and_its_policy_grants_nothing_by_wildcard" {
  module {
    source = "./modules/kms"
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "The key must rotate, and be recoverable for as long as AWS allows."
  }

  assert {
    condition = !anytrue(flatten([
      for statement in jsondecode(aws_kms_key.this.policy).Statement : [for action in statement.Action : strcontains(action, "*")]
    ]))
    error_message = "No statement may use a wildcard in an action."
  }

  assert {
    condition = alltrue([
      for action in ["kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:Decrypt", "kms:GenerateDataKey"] :
      contains(jsondecode(aws_kms_key.this.policy).Statement[0].Action, action)
    ])
    error_message = "The account must be able to manage the key and to hand on its use, or it is lost for good."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_kms_key.this.policy).Statement :
      strcontains(jsonencode(statement.Condition), "123456789012") if can(statement.Principal.Service) && statement.Sid != "EventsReachTheirTopic"
    ])
    error_message = "Services may use the key for this account only."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_kms_key.this.policy).Statement :
      [statement.Principal.Service, statement.Action, can(statement.Condition)] if statement.Sid == "EventsReachTheirTopic"
    ] == [["events.amazonaws.com", ["kms:Decrypt", "kms:GenerateDataKey"], false]]
    error_message = "EventBridge must be able to use the key for the encrypted topic; a condition would shut it out."
  }
}

run "a_window_that_kms_would_refuse_is_refused" {
  command = plan

  module {
    source = "./modules/kms"
  }

  variables {
    deletion_window_days = 3
  }

  expect_failures = [var.deletion_window_days]
}
