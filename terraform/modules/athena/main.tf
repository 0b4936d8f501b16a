resource "aws_athena_workgroup" "this" {
  name          = var.name
  description   = "SQL on the tables of ${var.name}. Where results go and what a query may scan is not the caller's choice."
  force_destroy = var.force_destroy

  configuration {
    enforce_workgroup_configuration    = true # enforced
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.scan_limit_gib * pow(1024, 3)

    engine_version {
      selected_engine_version = "Athena engine version 3"
    }

    result_configuration {
      output_location = "s3://${var.results_bucket}/results/"

      # Results stay with this account, even when another account's role asked.
      acl_configuration {
        s3_acl_option = "BUCKET_OWNER_FULL_CONTROL"
      }

      encryption_configuration {
        encryption_option = var.kms_key_arn == null ? "SSE_S3" : "SSE_KMS"
        kms_key_arn       = var.kms_key_arn
      }
    }
  }
}

resource "aws_athena_named_query" "this" {
  for_each = {
    "rows by run" = {
      database    = "ops"
      description = "What became of the rows of each run and entity."
      query       = "SELECT run_id, entity, sum(read) AS rows_read, sum(inserted) AS rows_inserted, sum(updated) AS rows_updated, sum(quarantined) AS rows_quarantined FROM row_counts GROUP BY run_id, entity ORDER BY run_id DESC, entity"
    }
    "quarantine by reason" = {
      database    = "ops"
      description = "Why rows went to quarantine."
      query       = "SELECT entity, reason, sum(rows) AS rows_quarantined FROM quarantine_reasons WHERE origin = 'bronze' AND level = 'error' GROUP BY entity, reason ORDER BY rows_quarantined DESC"
    }
    "loan book" = {
      database    = "gold"
      description = "Exposure and non-performing ratio by product and currency."
      query       = "SELECT product, currency, sum(exposure) AS exposure, sum(non_performing_exposure) / sum(exposure) AS non_performing_ratio FROM loan_portfolio GROUP BY product, currency ORDER BY exposure DESC"
    }
  }

  name        = "${var.name}: ${each.key}"
  description = each.value.description
  workgroup   = aws_athena_workgroup.this.id
  database    = var.databases[each.value.database]
  query       = each.value.query
}
