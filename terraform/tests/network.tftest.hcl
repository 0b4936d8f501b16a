# Endpoints in a network of the user's: the way out leads to the lake, and is taken by its own account.
mock_provider "aws" {}

variables {
  name            = "lake-dev"
  vpc_id          = "vpc-1"
  subnet_ids      = ["subnet-1", "subnet-2"]
  route_table_ids = ["rtb-1"]
  cidr_blocks     = ["10.0.0.0/16"]
  buckets         = ["lake-dev-bronze", "lake-dev-silver"]
  account_id      = "123456789012"
  region          = "eu-central-1"
}

run "s3_leads_to_the_lakes_buckets_only" {
  module {
    source = "./modules/network"
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(aws_vpc_endpoint.s3.policy).Statement : statement.Resource])) == toset([
      "arn:aws:s3:::lake-dev-bronze", "arn:aws:s3:::lake-dev-bronze/*",
      "arn:aws:s3:::lake-dev-silver", "arn:aws:s3:::lake-dev-silver/*",
    ])
    error_message = "Through the endpoint, only the lake's own buckets may be reached."
  }

  assert {
    condition = alltrue([
      for policy in concat([aws_vpc_endpoint.s3.policy], [for endpoint in values(aws_vpc_endpoint.interface) : endpoint.policy]) : alltrue([
        for statement in jsondecode(policy).Statement :
        statement.Condition.StringEquals["aws:PrincipalAccount"] == "123456789012" && !strcontains(jsonencode(statement.Action), "*")
      ])
    ])
    error_message = "Endpoints must let the own account through only, with actions named one by one."
  }

  assert {
    condition     = toset(keys(output.endpoint_ids)) == toset(["s3", "glue", "logs"]) && alltrue([for endpoint in values(aws_vpc_endpoint.interface) : endpoint.private_dns_enabled])
    error_message = "There must be endpoints for S3, Glue and Logs, found under the services' usual names."
  }

  assert {
    condition     = { for block, rule in aws_vpc_security_group_ingress_rule.https : block => "${rule.from_port}-${rule.to_port}" } == { "10.0.0.0/16" = "443-443" }
    error_message = "Only HTTPS from the network may reach the endpoints."
  }
}

run "further_buckets_can_be_read_but_not_written" {
  module {
    source = "./modules/network"
  }

  variables {
    readable_buckets = ["mirror"]
  }

  assert {
    condition     = jsondecode(aws_vpc_endpoint.s3.policy).Statement[1].Action == ["s3:GetObject"] && jsondecode(aws_vpc_endpoint.s3.policy).Statement[1].Resource == ["arn:aws:s3:::mirror/*"]
    error_message = "Another bucket must be readable only."
  }
}

run "the_whole_internet_is_refused" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    cidr_blocks     = ["0.0.0.0/0"]
    subnet_ids      = []
    route_table_ids = []
  }

  expect_failures = [var.cidr_blocks, var.subnet_ids, var.route_table_ids]
}
