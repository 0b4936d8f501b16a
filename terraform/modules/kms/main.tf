# Administration goes to the account, which hands it on by IAM policies; named one by one, so that the key's
# own policy grants nothing unforeseen. Without these nobody could ever manage the key again.
locals {
  root = "arn:${var.partition}:iam::${var.account_id}:root"

  administer = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:CreateGrant",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
  ]
  crypto = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
}

resource "aws_kms_key" "this" {
  description             = "Data, query results, logs and alarms of ${var.name}."
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_window_days

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # In a key's policy, "*" is this key.
        Sid       = "AccountAdministersAndDelegates"
        Effect    = "Allow"
        Principal = { AWS = local.root }
        Action    = sort(concat(local.administer, local.crypto))
        Resource  = "*"
      },
      {
        Sid       = "LogsOfTheJobs"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action    = local.crypto # DescribeKey has no encryption context, so it could never be allowed by this
        Resource  = "*"
        Condition = {
          ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:${var.log_group_prefix}-*" }
        }
      },
      {
        Sid       = "AlarmsReachTheirTopic"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      },
      {
        # Without a condition, as in the topic's policy: EventBridge tells nothing that one could ask for.
        Sid       = "EventsReachTheirTopic"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}
