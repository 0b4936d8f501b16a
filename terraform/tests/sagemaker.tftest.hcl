# Training: what the roles may do, and that the state machine's steps fit together.
mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
  }
}

variables {
  name       = "lake-dev"
  buckets    = { gold = "lake-gold", athena = "lake-athena", scripts = "lake-scripts" }
  database   = "lake_dev_gold"
  workgroup  = "lake-dev"
  code_path  = "../ml"
  image      = "492215442770.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
  account_id = "123456789012"
  region     = "eu-central-1"

  model_package_group = "lake-dev-models"
}

run "a_model_comes_from_gold_and_waits_for_approval" {
  module {
    source = "./modules/sagemaker"
  }

  assert {
    condition = (
      strcontains(jsondecode(aws_sfn_state_machine.training[0].definition).States["Select features"].Parameters["QueryString.$"], "FROM loan_default_features")
      && strcontains(jsondecode(aws_sfn_state_machine.training[0].definition).States["Select features"].Parameters["QueryString.$"], "s3://lake-athena/training/{}/")
      && jsondecode(aws_sfn_state_machine.training[0].definition).States["Train"].Parameters.InputDataConfig[0].DataSource.S3DataSource["S3Uri.$"] == "States.Format('s3://lake-athena/training/{}/', $.run.id)"
    )
    error_message = "Training must read what the query has written."
  }

  assert {
    condition = (
      alltrue([for name in ["train.py", "inference.py", "card.html.j2"] : contains(keys(aws_s3_object.code), name)])
      && alltrue([for file in aws_s3_object.code : file.bucket == "lake-scripts" && startswith(file.key, "ml/")])
      && jsondecode(aws_sfn_state_machine.training[0].definition).States["Train"].Parameters.InputDataConfig[1].DataSource.S3DataSource.S3Uri == "s3://lake-scripts/${split("/ml/", aws_s3_object.code["train.py"].key)[0]}/"
      && jsondecode(aws_sfn_state_machine.training[0].definition).States["Train"].Parameters.HyperParameters == { model = "default", sagemaker_program = "ml/train.py", sagemaker_submit_directory = "/opt/ml/input/data/code" }
    )
    error_message = "What trains must be the package that was uploaded, in script mode."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.training[0].definition).States["Train"].Parameters.EnableNetworkIsolation # isolated
    error_message = "What trains must have no network."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.training[0].definition).States["Register"].Parameters.ModelApprovalStatus == "PendingManualApproval"
    error_message = "A person must approve a model."
  }

  assert {
    condition = alltrue(flatten([
      for policy in [aws_iam_role_policy.training.policy, aws_iam_role_policy.workflow.policy] : [
        for statement in jsondecode(policy).Statement : [for action in statement.Action : !strcontains(action, "*")]
      ]
    ]))
    error_message = "No action may be a wildcard."
  }

  assert {
    condition = toset([
      for statement in jsondecode(aws_iam_role_policy.training.policy).Statement : statement.Sid if contains(statement.Resource, "*")
    ]) == toset(["LogIntoRegistry", "WriteMetrics"])
    error_message = "Only actions that know no resource may have the wildcard."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.training.policy).Statement :
      !strcontains(jsonencode(statement.Resource), "lake-gold") && !strcontains(jsonencode(statement.Resource), "lake-silver")
    ])
    error_message = "Training gets its features handed over, and no table."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.training.policy).Statement : statement.Resource if statement.Sid == "PullImage"
    ] == [["arn:aws:ecr:eu-central-1:492215442770:repository/sagemaker-scikit-learn"]]
    error_message = "Only the one image may be pulled."
  }
}

run "quotes_in_the_query_survive" {
  module {
    source = "./modules/sagemaker"
  }

  variables {
    feature_query = "SELECT 1 FROM loan_default_features WHERE segment = 'retail'"
  }

  assert {
    condition     = strcontains(jsondecode(aws_sfn_state_machine.training[0].definition).States["Select features"].Parameters["QueryString.$"], "segment = \\'retail\\'")
    error_message = "Within States.Format, quotes must be escaped."
  }
}

run "a_key_is_used_and_a_state_machine_can_be_left_out" {
  module {
    source = "./modules/sagemaker"
  }

  variables {
    kms_key_arn   = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    state_machine = false
  }

  assert {
    condition = length(aws_sfn_state_machine.training) == 0 && alltrue([
      for policy in [aws_iam_role_policy.training.policy, aws_iam_role_policy.workflow.policy] : anytrue([
        for statement in jsondecode(policy).Statement : statement.Resource == [var.kms_key_arn]
      ])
    ])
    error_message = "With a key, both roles must be able to use it."
  }
}

run "what_would_break_the_state_machine_is_refused" {
  command = plan

  module {
    source = "./modules/sagemaker"
  }

  variables {
    feature_query = "DELETE FROM loan_default_features"
    image         = "scikit-learn"
    code_path     = "../pipeline"
  }

  expect_failures = [var.feature_query, var.image, var.code_path]
}
