# The examples of the modules are whole configurations; each can be planned as it stands.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

run "s3" {
  command = plan

  module {
    source = "./modules/s3/examples/lake"
  }
}

run "s3_public" {
  command = plan

  module {
    source = "./modules/s3_public/examples/databricks"
  }
}

run "kms" {
  command = plan

  module {
    source = "./modules/kms/examples/key"
  }
}

run "athena" {
  command = plan

  module {
    source = "./modules/athena/examples/workgroup"
  }
}

run "iam" {
  command = plan

  module {
    source = "./modules/iam/examples/roles"
  }
}

run "glue" {
  command = plan

  module {
    source = "./modules/glue/examples/jobs"
  }

  variables {
    wheel_path = "tests/fixtures/finlake-0.0.0-py3-none-any.whl"
  }
}

run "monitoring" {
  command = plan

  module {
    source = "./modules/monitoring/examples/alarms"
  }
}

run "network" {
  command = plan

  module {
    source = "./modules/network/examples/endpoints"
  }
}

run "lake_formation" {
  command = plan

  module {
    source = "./modules/lake_formation/examples/readers"
  }
}

run "quicksight" {
  command = plan

  module {
    source = "./modules/quicksight/examples/gold"
  }
}

run "sagemaker" {
  command = plan

  module {
    source = "./modules/sagemaker/examples/training"
  }
}

run "cicd" {
  command = plan

  module {
    source = "./modules/cicd/examples/github"
  }
}
