# Tags for personal data: they come from the contracts, and what has none is not taken for harmless too early.
mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
  }
}

variables {
  name       = "lake-dev"
  databases  = { bronze = "lake_bronze", silver = "lake_silver", gold = "lake_gold", quarantine = "lake_quarantine", ops = "lake_ops" }
  buckets    = { silver = "lake-silver", gold = "lake-gold" }
  account_id = "123456789012"
  tables = {
    "silver/customers" = { email = "email", first_name = "name", last_name = "name" }
    "gold/customer360" = { full_name = "name" }
  }
}

run "before_the_tables_exist_only_databases_are_tagged" {
  module {
    source = "./modules/lake_formation"
  }

  assert {
    condition     = aws_lakeformation_lf_tag.pii.key == "lake-dev-pii" && aws_lakeformation_lf_tag.pii.values == toset(["none", "unclear", "email", "name"])
    error_message = "The tag must have a value for each class of the contracts."
  }

  assert {
    condition = { for layer, tags in aws_lakeformation_resource_lf_tags.database : layer => one(tags.lf_tag).value } == {
      bronze = "unclear", silver = "none", gold = "none", quarantine = "unclear", ops = "none"
    }
    error_message = "Raw and refused rows may hold anything, and must be tagged so."
  }

  assert {
    condition     = length(aws_lakeformation_resource_lf_tags.columns) == 0
    error_message = "Columns of tables that do not exist yet cannot be tagged."
  }

  assert {
    condition     = alltrue([for location in values(aws_lakeformation_resource.this) : location.hybrid_access_enabled])
    error_message = "Jobs must be able to go on by their IAM roles."
  }

  assert {
    condition     = toset(flatten([for statement in jsondecode(aws_iam_role_policy.location.policy).Statement : statement.Action])) == toset(["s3:ListBucket", "s3:GetObject"])
    error_message = "Lake Formation must only read."
  }
}

run "columns_are_tagged_and_readers_see_their_classes" {
  module {
    source = "./modules/lake_formation"
  }

  variables {
    tag_columns = true
    readers     = { marketing = { principal_arn = "arn:aws:iam::123456789012:role/marketing", pii_classes = ["email"] } }
  }

  assert {
    condition = { for key, tags in aws_lakeformation_resource_lf_tags.columns : key => [one(tags.table_with_columns).database_name, one(tags.lf_tag).value, join(",", sort(one(tags.table_with_columns).column_names))] } == {
      "silver/customers/email" = ["lake_silver", "email", "email"]
      "silver/customers/name"  = ["lake_silver", "name", "first_name,last_name"]
      "gold/customer360/name"  = ["lake_gold", "name", "full_name"]
    }
    error_message = "Each column with personal data must get its class."
  }

  assert {
    condition     = one([for expression in one(aws_lakeformation_permissions.tables["marketing"].lf_tag_policy).expression : expression.values]) == toset(["none", "email"])
    error_message = "A reader must see what is harmless and the classes named for them, no other."
  }

  assert {
    condition     = toset(keys(aws_lakeformation_opt_in.this)) == toset(["marketing/silver", "marketing/gold"])
    error_message = "Without an opt-in, tags hold for nobody."
  }
}

run "readers_before_the_tags_are_refused" {
  command = plan

  module {
    source = "./modules/lake_formation"
  }

  variables {
    readers = { marketing = { principal_arn = "arn:aws:iam::123456789012:role/marketing" } }
  }

  expect_failures = [aws_lakeformation_permissions.tables]
}

run "a_class_that_no_contract_has_is_refused" {
  command = plan

  module {
    source = "./modules/lake_formation"
  }

  variables {
    tag_columns = true
    readers     = { marketing = { principal_arn = "arn:aws:iam::123456789012:role/marketing", pii_classes = ["mail"] } }
  }

  expect_failures = [aws_lakeformation_permissions.tables]
}

run "raw_layers_are_for_no_reader" {
  command = plan

  module {
    source = "./modules/lake_formation"
  }

  variables {
    read_layers = ["silver", "bronze"]
  }

  expect_failures = [var.read_layers]
}
