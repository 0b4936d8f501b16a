locals {
  names = var.access == "none" && var.external_location == null ? {} : var.names
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
  block_public_policy     = var.access == "none"
  restrict_public_buckets = var.access == "none"
}

resource "aws_s3_bucket_policy" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "DenyInsecureTransport"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.arns[each.key], "${local.arns[each.key]}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      # jsondecode: the statements differ in shape, and a conditional wants one type.
      var.access == "none" ? [] : jsondecode(jsonencode([
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
      ])),
    )
  })

  # S3 refuses a public policy while the block is still on.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

# --- without the public ---------------------------------------------------------------------------

# The role that a Databricks workspace takes on to read the copies: nothing is public then. Unity Catalog asks
# for an external id, which it shows when the storage credential is made, and for a role that may take on itself.
resource "aws_iam_role" "external" {
  count = var.external_location == null ? 0 : 1

  name                 = local.role
  description          = "Databricks reads the masked copies of ${var.external_location.name}"
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Databricks"
        Effect    = "Allow"
        Principal = { AWS = var.external_location.principal_arn }
        Action    = "sts:AssumeRole"
        Condition = { StringEquals = { "sts:ExternalId" = var.external_location.external_id } }
      },
      {
        # The role does not exist yet when this is written, so it cannot be named as a principal.
        Sid       = "Itself"
        Effect    = "Allow"
        Principal = { AWS = "arn:${var.partition}:iam::${var.external_location.account_id}:root" }
        Action    = "sts:AssumeRole"
        Condition = {
          ArnEquals    = { "aws:PrincipalArn" = local.role_arn }
          StringEquals = { "sts:ExternalId" = var.external_location.external_id }
        }
      },
    ]
  })
}

resource "aws_iam_role_policy" "external" {
  count = var.external_location == null ? 0 : 1

  name = "access"
  role = aws_iam_role.external[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "List"
        Effect   = "Allow"
        Action   = local.bucket_actions
        Resource = [for layer in sort(keys(local.arns)) : local.arns[layer]]
      },
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [for layer in sort(keys(local.arns)) : "${local.arns[layer]}/*"]
      },
      {
        Sid      = "Itself"
        Effect   = "Allow"
        Action   = ["sts:AssumeRole"]
        Resource = [local.role_arn]
      },
    ]
  })
}

locals {
  role     = try("${var.external_location.name}-external-location", null)
  role_arn = try("arn:${var.partition}:iam::${var.external_location.account_id}:role/${local.role}", null)
}
