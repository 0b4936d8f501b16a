# Dashboards read Gold through Athena into QuickSight's memory (SPICE), each mart once a day after the jobs.
# Columns with personal data are not even imported.
locals {
  # QuickSight's names for what Athena calls them.
  types = { bigint = "INTEGER", boolean = "BOOLEAN", date = "DATETIME", decimal = "DECIMAL", double = "DECIMAL", int = "INTEGER", string = "STRING", timestamp = "DATETIME" }

  columns = {
    for mart, value in var.marts : mart => [
      for column in value.columns : { name = column.name, type = local.types[split("(", column.type)[0]] } if column.pii == null
    ]
  }

  use_source = ["quicksight:DescribeDataSource", "quicksight:DescribeDataSourcePermissions", "quicksight:PassDataSource"]
  own_source = concat(local.use_source, ["quicksight:DeleteDataSource", "quicksight:UpdateDataSource", "quicksight:UpdateDataSourcePermissions"])
  use_set    = ["quicksight:DescribeDataSet", "quicksight:DescribeDataSetPermissions", "quicksight:DescribeIngestion", "quicksight:ListIngestions", "quicksight:PassDataSet"]
  own_set    = concat(local.use_set, ["quicksight:CancelIngestion", "quicksight:CreateIngestion", "quicksight:DeleteDataSet", "quicksight:UpdateDataSet", "quicksight:UpdateDataSetPermissions"])
}

resource "aws_quicksight_data_source" "athena" {
  aws_account_id = var.account_id
  data_source_id = var.name
  name           = var.name
  type           = "ATHENA"

  parameters {
    athena {
      work_group = var.workgroup
    }
  }

  ssl_properties {
    disable_ssl = false
  }

  # Who may use the source could query all of its tables, so readers get the datasets only.
  permission {
    principal = var.owner_arn
    actions   = local.own_source
  }
}

resource "aws_quicksight_data_set" "mart" {
  for_each = var.marts

  aws_account_id = var.account_id
  data_set_id    = "${var.name}-${replace(each.key, "_", "-")}"
  name           = each.key
  import_mode    = "SPICE"

  physical_table_map {
    physical_table_map_id = replace(each.key, "_", "-")

    relational_table {
      data_source_arn = aws_quicksight_data_source.athena.arn
      catalog         = "AwsDataCatalog"
      schema          = var.database
      name            = each.key

      dynamic "input_columns" {
        for_each = local.columns[each.key]

        content {
          name = input_columns.value.name
          type = input_columns.value.type
        }
      }
    }
  }

  permissions {
    principal = var.owner_arn
    actions   = local.own_set
  }

  dynamic "permissions" {
    for_each = toset(var.reader_arns)

    content {
      principal = permissions.value
      actions   = local.use_set
    }
  }
}

resource "aws_quicksight_refresh_schedule" "daily" {
  for_each = var.refresh_at == null ? {} : aws_quicksight_data_set.mart

  aws_account_id = var.account_id
  data_set_id    = each.value.data_set_id
  schedule_id    = "daily"

  schedule {
    refresh_type = "FULL_REFRESH"

    schedule_frequency {
      interval        = "DAILY"
      time_of_the_day = var.refresh_at
      timezone        = "UTC"
    }
  }
}
