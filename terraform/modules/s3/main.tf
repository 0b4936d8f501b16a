resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_144:A copy in another region doubles storage and may break rules on where data stays; versions guard against deletion. It is the user's choice, made outside of this module.
  #checkov:skip=CKV2_AWS_62:The pipeline lists Bronze and remembers what it has read; nobody listens to events.
  for_each = var.names

  bucket        = each.value
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    # The bucket of access logs: S3 delivers them to SSE-S3 buckets only.
    apply_server_side_encryption_by_default {
      sse_algorithm     = local.keys[each.key] == null ? "AES256" : "aws:kms"
      kms_master_key_id = local.keys[each.key]
    }

    # One data key per bucket instead of one per object: far fewer KMS requests.
    bucket_key_enabled = local.keys[each.key] != null
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "tls_only" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "DenyInsecureTransport"
        Effect    = "Deny"
        Principal = "*"
        # A deny: the wildcard takes rights away.
        Action    = "s3:*"
        Resource  = [local.arns[each.key], "${local.arns[each.key]}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      # jsondecode: the two statements differ in shape, and a conditional wants one type.
      each.key != "logs" ? [] : [jsondecode(jsonencode({
        Sid       = "DeliverAccessLogs"
        Effect    = "Allow"
        Principal = { Service = "logging.s3.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = [for layer in concat(keys(local.logged), keys(var.also_logged)) : "${local.arns.logs}/${layer}/*"]
        Condition = {
          ArnLike      = { "aws:SourceArn" = concat([for layer in keys(local.logged) : local.arns[layer]], values(var.also_logged)) }
          StringEquals = { "aws:SourceAccount" = var.account_id }
        }
      }))],
    )
  })

  # S3 refuses a policy and a public access block of one bucket at the same moment.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_logging" "this" {
  for_each = local.logged

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "${each.key}/"

  # S3 checks that it may write there.
  depends_on = [aws_s3_bucket_policy.tls_only]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = var.lifecycle_days == null ? {} : aws_s3_bucket.this

  bucket = each.value.id

  rule {
    id     = "clean-up"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = var.lifecycle_days.incomplete_uploads
    }

    noncurrent_version_expiration {
      noncurrent_days = var.lifecycle_days.noncurrent
    }
  }

  # Bronze is written once and read once; Silver and Gold are read all the time.
  dynamic "rule" {
    for_each = each.key == "bronze" ? [var.lifecycle_days] : []

    content {
      id     = "archive"
      status = "Enabled"

      filter {}

      transition {
        days          = rule.value.bronze_ia
        storage_class = "STANDARD_IA"
      }

      transition {
        days          = rule.value.bronze_archive
        storage_class = "GLACIER_IR"
      }
    }
  }

  # What can be made again, and what is only looked at for a while.
  dynamic "rule" {
    for_each = lookup({ athena = [""], logs = [""], scripts = ["spark-ui/"] }, each.key, [])

    content {
      id     = "expire"
      status = "Enabled"

      filter {
        prefix = rule.value
      }

      expiration {
        days = each.key == "logs" ? var.lifecycle_days.access_logs : var.lifecycle_days.results
      }
    }
  }

  # Rules on noncurrent versions need versioning to be on first.
  depends_on = [aws_s3_bucket_versioning.this]
}

locals {
  # Every bucket but the one that gets them.
  logged = contains(keys(var.names), "logs") ? { for layer, name in var.names : layer => name if layer != "logs" } : {}
  keys   = { for layer in keys(var.names) : layer => layer == "logs" ? null : var.kms_key_arn }
  arns   = { for layer, bucket in aws_s3_bucket.this : layer => bucket.arn }
}
