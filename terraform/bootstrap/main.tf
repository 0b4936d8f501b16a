# The bucket that holds Terraform's state of the stages on AWS. It is made once per account, and keeps its own
# state in this folder, on the machine that made it: there is nothing yet where else it could be. Should that
# be lost, `terraform import` brings the bucket back.
resource "aws_s3_bucket" "state" {
  #checkov:skip=CKV_AWS_18:CloudTrail shows who read a state; a bucket for logs would need a bootstrap of its own.
  #checkov:skip=CKV_AWS_144:Lost states can be imported again; versions guard against deletion.
  #checkov:skip=CKV2_AWS_62:Nobody listens to events.
  bucket = var.bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.state.arn
    }

    bucket_key_enabled = true
  }
}

resource "aws_kms_key" "state" {
  #checkov:skip=CKV2_AWS_64:AWS's default policy is meant: the account hands the key on by IAM policies.
  description             = "State of Terraform in ${var.bucket}."
  enable_key_rotation     = true
  deletion_window_in_days = 30

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket = aws_s3_bucket.state.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DenyInsecureTransport"
      Effect    = "Deny"
      Principal = "*"
      # A deny: the wildcard takes rights away.
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  # S3 refuses a policy and a public access block of one bucket at the same moment.
  depends_on = [aws_s3_bucket_public_access_block.state]
}

# Old states are kept for long enough to go back to one, and lock files that were left for a week.
resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    id     = "old-states"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 365
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.state]
}
