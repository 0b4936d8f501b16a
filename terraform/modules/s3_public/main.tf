locals {
  names = var.access == "none" ? {} : var.names
  arns  = { for layer, name in local.names : layer => "arn:${var.partition}:s3:::${name}" }

  # GetBucketLocation and ListBucket: Databricks and DuckDB list a Delta table's log.
  bucket_actions = ["s3:GetBucketLocation", "s3:ListBucket"]
  object_actions = {
    none       = []
    read       = ["s3:GetObject"]
    read_write = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
  }[var.access]
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_144:Copies of what is in the lake, which can be written again.
  #checkov:skip=CKV_AWS_145:Strangers could not use the key; the copies hold masked columns only.
  #checkov:skip=CKV2_AWS_6:It is below. Policies are let through on purpose, ACLs are not.
  #checkov:skip=CKV2_AWS_62:Nobody listens to events.
  for_each = local.names

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
    # Never SSE-KMS: strangers could not use the key.
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }

    bucket_key_enabled = false
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each = var.logs_bucket == null ? {} : aws_s3_bucket.this

  bucket        = each.value.id
  target_bucket = var.logs_bucket
  target_prefix = "public_${each.key}/"
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

  # Rules on noncurrent versions need versioning to be on first.
  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_public_access_block" "this" {
  #checkov:skip=CKV_AWS_54:These buckets exist only where public_access asks for them, and hold masked copies.
  #checkov:skip=CKV_AWS_56:As above.
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  # Access comes from the policy below and nothing else: ACLs stay blocked.
  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = false
  restrict_public_buckets = false
}

resource "aws_s3_bucket_policy" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "DenyInsecureTransport"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.arns[each.key], "${local.arns[each.key]}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "PublicList"
        Effect    = "Allow"
        Principal = "*"
        Action    = local.bucket_actions
        Resource  = local.arns[each.key]
      },
      {
        Sid       = "PublicObjects"
        Effect    = "Allow"
        Principal = "*"
        Action    = local.object_actions
        Resource  = "${local.arns[each.key]}/*"
      },
    ]
  })

  # S3 refuses a public policy while the block is still on.
  depends_on = [aws_s3_bucket_public_access_block.this]
}
