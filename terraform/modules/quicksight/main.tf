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
  # A sheet for each who asks, with a chart of each of their figures.
  sheets = { for kpi in values(var.kpis) : kpi.owner => kpi.owner... }
  charts = { for owner in keys(local.sheets) : owner => { for name, kpi in var.kpis : name => kpi if kpi.owner == owner } }

  own_set = concat(local.use_set, ["quicksight:CancelIngestion", "quicksight:CreateIngestion", "quicksight:DeleteDataSet", "quicksight:UpdateDataSet", "quicksight:UpdateDataSetPermissions"])
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

  # What is due in decades to come would make the axes that long.
  dynamic "logical_table_map" {
    for_each = each.value.shown_where == null ? [] : [each.value.shown_where]

    content {
      logical_table_map_id = "${replace(each.key, "_", "-")}-shown"
      alias                = each.key

      source {
        physical_table_id = replace(each.key, "_", "-")
      }

      data_transforms {
        filter_operation {
          condition_expression = "{${logical_table_map.value}} > 0"
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

# Every chart tells currencies apart: amounts in different ones are never added up.
resource "aws_quicksight_analysis" "kpis" {
  count = length(var.kpis) == 0 ? 0 : 1

  aws_account_id = var.account_id
  analysis_id    = "${var.name}-kpis"
  name           = "${var.name}: key figures"

  definition {
    dynamic "data_set_identifiers_declarations" {
      for_each = toset([for kpi in values(var.kpis) : kpi.mart])

      content {
        identifier   = data_set_identifiers_declarations.value
        data_set_arn = aws_quicksight_data_set.mart[data_set_identifiers_declarations.value].arn
      }
    }

    dynamic "calculated_fields" {
      for_each = var.kpis

      content {
        data_set_identifier = calculated_fields.value.mart
        name                = "kpi_${calculated_fields.key}" # some columns are called like a figure
        expression          = calculated_fields.value.expression
      }
    }

    dynamic "sheets" {
      for_each = local.charts

      content {
        sheet_id = replace(sheets.key, " ", "-")
        name     = title(sheets.key)

        dynamic "visuals" {
          for_each = sheets.value

          content {
            bar_chart_visual {
              visual_id = replace(visuals.key, "_", "-")

              title {
                format_text {
                  plain_text = visuals.value.title
                }
              }

              chart_configuration {
                orientation      = contains(["date", "int"], visuals.value.by.type) ? "VERTICAL" : "HORIZONTAL"
                bars_arrangement = "CLUSTERED"

                field_wells {
                  bar_chart_aggregated_field_wells {
                    category {
                      dynamic "date_dimension_field" {
                        for_each = visuals.value.by.type == "date" ? [visuals.value] : []

                        content {
                          field_id         = "${visuals.key}-by"
                          date_granularity = date_dimension_field.value.by.column == "transaction_date" ? "DAY" : "MONTH"

                          column {
                            data_set_identifier = date_dimension_field.value.mart
                            column_name         = date_dimension_field.value.by.column
                          }
                        }
                      }

                      dynamic "numerical_dimension_field" {
                        for_each = visuals.value.by.type == "int" ? [visuals.value] : []

                        content {
                          field_id = "${visuals.key}-by"

                          column {
                            data_set_identifier = numerical_dimension_field.value.mart
                            column_name         = numerical_dimension_field.value.by.column
                          }
                        }
                      }

                      dynamic "categorical_dimension_field" {
                        for_each = contains(["date", "int"], visuals.value.by.type) ? [] : [visuals.value]

                        content {
                          field_id = "${visuals.key}-by"

                          column {
                            data_set_identifier = categorical_dimension_field.value.mart
                            column_name         = categorical_dimension_field.value.by.column
                          }
                        }
                      }
                    }

                    colors {
                      categorical_dimension_field {
                        field_id = "${visuals.key}-currency"

                        column {
                          data_set_identifier = visuals.value.mart
                          column_name         = "currency"
                        }
                      }
                    }

                    values {
                      numerical_measure_field {
                        field_id = visuals.key

                        column {
                          data_set_identifier = visuals.value.mart
                          column_name         = "kpi_${visuals.key}"
                        }

                        dynamic "format_configuration" {
                          for_each = visuals.value.unit == "fraction" ? [1] : []

                          content {
                            numeric_format_configuration {
                              percentage_display_format_configuration {
                                suffix = "%"

                                decimal_places_configuration {
                                  decimal_places = 2
                                }
                              }
                            }
                          }
                        }
                      }
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }

  permissions {
    principal = var.owner_arn
    actions = [
      "quicksight:DeleteAnalysis", "quicksight:DescribeAnalysis", "quicksight:DescribeAnalysisPermissions", "quicksight:QueryAnalysis",
      "quicksight:RestoreAnalysis", "quicksight:UpdateAnalysis", "quicksight:UpdateAnalysisPermissions",
    ]
  }
}
