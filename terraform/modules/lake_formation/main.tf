# Who may see which kind of personal data, by tags on columns. The tags come from the contracts. Lake Formation
# works in hybrid mode: jobs and crawlers go on by their IAM roles, and only the readers named here are held to
# the tags, with access to data that Lake Formation hands out to them, and no rights on the buckets of their own.
locals {
  none    = "none"    # holds no personal data
  unclear = "unclear" # raw or refused rows: any column may hold anything
  classes = sort(distinct(flatten([for columns in values(var.tables) : values(columns)])))

  database_tags = { for layer, database in var.databases : layer => contains(["bronze", "quarantine"], layer) ? local.unclear : local.none }

  # One tagging per table and class: "silver/customers/email" => columns.
  column_tags = var.tag_columns ? merge([
    for table, columns in var.tables : {
      for class in distinct(values(columns)) : "${table}/${class}" => {
        layer   = split("/", table)[0]
        table   = split("/", table)[1]
        class   = class
        columns = sort([for column, value in columns : column if value == class])
      }
    }
  ]...) : {}
}

resource "aws_lakeformation_lf_tag" "pii" {
  key    = "${var.name}-pii"
  values = concat([local.none, local.unclear], local.classes)

  lifecycle {
    precondition {
      condition     = length(setintersection(local.classes, [local.none, local.unclear])) == 0
      error_message = "A PII class of the contracts must not be called none or unclear: these words are taken."
    }
  }
}

# Tables and columns inherit the tag of their database.
resource "aws_lakeformation_resource_lf_tags" "database" {
  for_each = var.databases

  database {
    name = each.value
  }

  lf_tag {
    key   = aws_lakeformation_lf_tag.pii.key
    value = local.database_tags[each.key]
  }
}

resource "aws_lakeformation_resource_lf_tags" "columns" {
  for_each = local.column_tags

  table_with_columns {
    database_name = var.databases[each.value.layer]
    name          = each.value.table
    column_names  = each.value.columns
  }

  lf_tag {
    key   = aws_lakeformation_lf_tag.pii.key
    value = each.value.class
  }

  depends_on = [aws_lakeformation_resource_lf_tags.database]
}

# --- readers --------------------------------------------------------------------------------------

resource "aws_lakeformation_permissions" "databases" {
  for_each = var.readers

  principal   = each.value.principal_arn
  permissions = ["DESCRIBE"]

  lf_tag_policy {
    resource_type = "DATABASE"

    expression {
      key    = aws_lakeformation_lf_tag.pii.key
      values = [local.none]
    }
  }
}

resource "aws_lakeformation_permissions" "tables" {
  for_each = var.readers

  principal   = each.value.principal_arn
  permissions = ["DESCRIBE", "SELECT"]

  lf_tag_policy {
    resource_type = "TABLE"

    expression {
      key    = aws_lakeformation_lf_tag.pii.key
      values = concat([local.none], each.value.pii_classes)
    }
  }

  lifecycle {
    precondition {
      condition     = alltrue([for class in each.value.pii_classes : contains(local.classes, class)])
      error_message = "Reader ${each.key} names a PII class that no contract has. There are: ${join(", ", local.classes)}."
    }
    precondition {
      condition     = var.tag_columns
      error_message = "Readers before tag_columns = true would see personal data: columns without a tag of their own count as none."
    }
  }

  depends_on = [aws_lakeformation_resource_lf_tags.columns]
}

# In hybrid mode, the tags hold only for whom it is said that they do.
resource "aws_lakeformation_opt_in" "this" {
  for_each = merge([for reader, value in var.readers : { for layer in var.read_layers : "${reader}/${layer}" => { principal = value.principal_arn, database = var.databases[layer] } }]...)

  principal {
    data_lake_principal_identifier = each.value.principal
  }

  resource_data {
    table {
      database_name = each.value.database
      wildcard      = true
    }
  }
}

# --- what Lake Formation hands out ----------------------------------------------------------------

resource "aws_iam_role" "location" {
  name                 = "${var.name}-lake-formation"
  description          = "Lake Formation reads Silver and Gold of ${var.name} for its readers"
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lakeformation.amazonaws.com" }
      Action    = "sts:AssumeRole"
      # IfExists, as for Glue: AWS does not say that Lake Formation tells for whom it asks.
      Condition = { StringEqualsIfExists = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "location" {
  name = "access"
  role = aws_iam_role.location.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "List"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = [for layer in var.read_layers : "arn:${var.partition}:s3:::${var.buckets[layer]}"]
        },
        {
          Sid      = "Read"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = [for layer in var.read_layers : "arn:${var.partition}:s3:::${var.buckets[layer]}/*"]
        },
      ],
      var.kms_key_arn == null ? [] : [{
        Sid      = "UseKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [var.kms_key_arn]
      }],
    )
  })
}

resource "aws_lakeformation_resource" "this" {
  for_each = toset(var.read_layers)

  arn                   = "arn:${var.partition}:s3:::${var.buckets[each.key]}"
  role_arn              = aws_iam_role.location.arn
  hybrid_access_enabled = true
}
