# Datasets of Gold: typed, refreshed, and without personal data.
mock_provider "aws" {
  mock_resource "aws_quicksight_data_source" {
    defaults = { arn = "arn:aws:quicksight:eu-central-1:123456789012:datasource/mocked" }
  }

  mock_resource "aws_quicksight_data_set" {
    defaults = { arn = "arn:aws:quicksight:eu-central-1:123456789012:dataset/mocked" }
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
      { name = "currency", type = "string" },
      { name = "segment", type = "string" },
    ] }
    payment_performance = {
      shown_where = "instalment_count"
      columns     = [{ name = "due_month", type = "date" }, { name = "instalment_count", type = "bigint" }]
    }
    loan_vintages = { columns = [
      { name = "vintage", type = "date" },
      { name = "months_on_book", type = "int" },
      { name = "currency", type = "string" },
      { name = "defaulted_amount", type = "decimal(28,2)" },
    ] }
  }
  kpis = {
    deposits = {
      title = "Balances", mart = "customer_360", expression = "sum({total_balance})", unit = "money", owner = "branch manager"
      by    = { column = "segment", type = "string" }
    }
    vintage_default_rate = {
      title = "Default rate", mart = "loan_vintages", expression = "1.0 * sum({defaulted_amount}) / nullIf(sum({originated_amount}), 0)", unit = "fraction", owner = "credit risk"
      by    = { column = "months_on_book", type = "int" }
    }
  }
}

run "personal_data_is_not_imported" {
  module {
    source = "./modules/quicksight"
  }

  assert {
    condition = [for column in one(one(aws_quicksight_data_set.mart["customer_360"].physical_table_map).relational_table).input_columns : "${column.name} ${column.type}"] == [
      "customer_id STRING", "total_balance DECIMAL", "as_of_date DATETIME", "currency STRING", "segment STRING",
    ]
    error_message = "A dataset must have all columns but those with personal data, in their order."
  }

  assert {
    condition = { for mart, set in aws_quicksight_data_set.mart : mart => [
      for table in set.logical_table_map : one(one(table.data_transforms).filter_operation).condition_expression
    ] } == { customer_360 = [], loan_vintages = [], payment_performance = ["{instalment_count} > 0"] }
    error_message = "Only rows that are shown may be imported."
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

run "the_analysis_has_every_figure_once_and_tells_currencies_apart" {
  module {
    source = "./modules/quicksight"
  }

  assert {
    condition = { for field in one(aws_quicksight_analysis.kpis[0].definition).calculated_fields : field.name => "${field.data_set_identifier}: ${field.expression}" } == {
      kpi_deposits             = "customer_360: sum({total_balance})"
      kpi_vintage_default_rate = "loan_vintages: 1.0 * sum({defaulted_amount}) / nullIf(sum({originated_amount}), 0)"
    }
    error_message = "Every key figure must be a calculated field of its mart's dataset."
  }

  assert {
    condition     = [for sheet in one(aws_quicksight_analysis.kpis[0].definition).sheets : "${sheet.sheet_id}: ${length(sheet.visuals)}"] == ["branch-manager: 1", "credit-risk: 1"]
    error_message = "There must be a sheet for each owner, with a chart of each figure."
  }

  assert {
    condition = alltrue(flatten([
      for sheet in one(aws_quicksight_analysis.kpis[0].definition).sheets : [
        for visual in sheet.visuals :
        one(one(one(one(one(one(one(visual.bar_chart_visual).chart_configuration).field_wells).bar_chart_aggregated_field_wells).colors).categorical_dimension_field).column).column_name == "currency"
      ]
    ]))
    error_message = "Amounts in different currencies must not be added up."
  }

  assert {
    condition     = [for permission in aws_quicksight_analysis.kpis[0].permissions : permission.principal] == [var.owner_arn]
    error_message = "The analysis is its owner's; others get what is published of it."
  }
}

run "without_key_figures_there_is_no_analysis" {
  module {
    source = "./modules/quicksight"
  }

  variables {
    kpis = {}
  }

  assert {
    condition     = length(aws_quicksight_analysis.kpis) == 0 && output.analysis_arn == null
    error_message = "QuickSight refuses an analysis without a sheet."
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

run "a_figure_of_no_mart_is_refused" {
  command = plan

  module {
    source = "./modules/quicksight"
  }

  variables {
    kpis = {
      odd = { title = "Odd", mart = "nothing", expression = "sum({x})", unit = "count", owner = "nobody", by = { column = "x", type = "int" } }
    }
  }

  expect_failures = [var.kpis]
}
