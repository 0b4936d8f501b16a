# Datasets of Gold: typed, refreshed, and without personal data.
mock_provider "aws" {
  mock_resource "aws_quicksight_data_source" {
    defaults = { arn = "arn:aws:quicksight:eu-central-1:123456789012:datasource/mocked" }
  }
}

variables {
  name       = "lake-dev"
  account_id = "123456789012"
  workgroup  = "lake-dev"
  database   = "lake_dev_gold"
  owner_arn  = "arn:aws:quicksight:eu-central-1:123456789012:group/default/authors"
  marts = {
    customer_360 = { columns = [
      { name = "customer_id", type = "string" },
      { name = "full_name", type = "string", pii = "name" },
      { name = "total_balance", type = "decimal(28,2)" },
      { name = "as_of_date", type = "date" },
    ] }
  }
}

run "personal_data_is_not_imported" {
  module {
    source = "./modules/quicksight"
  }

  assert {
    condition = [for column in one(one(aws_quicksight_data_set.mart["customer_360"].physical_table_map).relational_table).input_columns : "${column.name} ${column.type}"] == [
      "customer_id STRING", "total_balance DECIMAL", "as_of_date DATETIME",
    ]
    error_message = "A dataset must have all columns but those with personal data, in their order."
  }

  assert {
    condition     = one(one(aws_quicksight_data_source.athena.parameters).athena).work_group == "lake-dev" && !one(aws_quicksight_data_source.athena.ssl_properties).disable_ssl
    error_message = "Queries must run in the stage's workgroup, by TLS."
  }

  assert {
    condition     = one(one(aws_quicksight_refresh_schedule.daily["customer_360"].schedule).schedule_frequency).time_of_the_day == "06:00"
    error_message = "Datasets must be refreshed each day."
  }
}

run "readers_may_use_datasets_but_not_change_them_nor_the_source" {
  module {
    source = "./modules/quicksight"
  }

  variables {
    reader_arns = ["arn:aws:quicksight:eu-central-1:123456789012:group/default/readers"]
    refresh_at  = null
  }

  assert {
    condition = length([
      for permission in aws_quicksight_data_set.mart["customer_360"].permissions : permission
      if permission.principal == var.reader_arns[0] && length([for action in permission.actions : action if can(regex("Update|Delete|Create", action))]) == 0
    ]) == 1
    error_message = "A reader may not change a dataset."
  }

  assert {
    condition     = alltrue([for permission in aws_quicksight_data_source.athena.permission : permission.principal == var.owner_arn])
    error_message = "Who has the data source can query every table of it: that is for the owner."
  }

  assert {
    condition     = length(aws_quicksight_refresh_schedule.daily) == 0
    error_message = "Without a time there is no refresh."
  }
}

run "what_quicksight_would_refuse_is_refused" {
  command = plan

  module {
    source = "./modules/quicksight"
  }

  variables {
    owner_arn  = "arn:aws:iam::123456789012:user/me"
    refresh_at = "6 o'clock"
    marts      = { odd = { columns = [{ name = "tags", type = "array<string>" }] } }
  }

  expect_failures = [var.owner_arn, var.refresh_at, var.marts]
}
