# What a delivery may do, said once: `plan` gets the part that only looks, `apply` all of it. Neither reads or
# writes data: of all objects, they touch the state, the job script and the wheel. Three things they cannot do
# even with `apply`, and a person has to: make or change the permissions boundary, make the key, and give a role
# to anyone without that boundary.
locals {
  arn       = "arn:${var.partition}"
  here      = "${var.region}:${var.account_id}"
  databases = replace(var.name, "-", "_")
  role_arns = "${local.arn}:iam::${var.account_id}:role/${var.name}-*"
  state     = "${local.arn}:s3:::${var.state_bucket}"

  # Managed policies have a limit of 6,144 characters, hence two.
  statements = {
    data = [
      {
        Sid    = "Buckets"
        Effect = "Allow"
        Action = [
          "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:GetAccelerateConfiguration", "s3:GetBucketAcl", "s3:GetBucketCORS",
          "s3:GetBucketLocation", "s3:GetBucketLogging", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock",
          "s3:GetBucketRequestPayment", "s3:GetBucketTagging", "s3:GetBucketVersioning", "s3:GetBucketWebsite", "s3:GetEncryptionConfiguration",
          "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket", "s3:PutBucketLogging", "s3:PutBucketPolicy",
          "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
        ]
        Resource = ["${local.arn}:s3:::${var.name}-*"]
      },
      {
        Sid      = "Code"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObject", "s3:GetObjectTagging", "s3:PutObject", "s3:PutObjectTagging"]
        Resource = [for folder in ["jobs", "wheels"] : "${local.arn}:s3:::${var.name}-scripts*/${folder}/*"]
      },
      {
        Sid      = "State"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = [for end in ["", ".tflock"] : "${local.state}/env:/${var.environment}/${var.state_key}${end}"]
      },
      {
        Sid      = "StateListing"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [local.state]
      },
      {
        Sid    = "Glue"
        Effect = "Allow"
        Action = [
          "glue:BatchStopJobRun", "glue:CreateDatabase", "glue:CreateJob", "glue:CreateTrigger", "glue:CreateWorkflow",
          "glue:DeleteCrawler", "glue:DeleteDatabase", "glue:DeleteJob", "glue:DeleteTrigger", "glue:DeleteWorkflow",
          "glue:GetCrawler", "glue:GetDatabase", "glue:GetJob", "glue:GetJobRun", "glue:GetTags", "glue:GetTrigger", "glue:GetWorkflow",
          "glue:StartJobRun", "glue:StartTrigger", "glue:StopTrigger", "glue:TagResource", "glue:UntagResource",
          "glue:UpdateCrawler", "glue:UpdateDatabase", "glue:UpdateJob", "glue:UpdateTrigger", "glue:UpdateWorkflow",
        ]
        Resource = concat(
          ["${local.arn}:glue:${local.here}:catalog", "${local.arn}:glue:${local.here}:database/${local.databases}_*", "${local.arn}:glue:${local.here}:workflow/${var.name}"],
          [for kind in ["crawler", "job", "trigger"] : "${local.arn}:glue:${local.here}:${kind}/${var.name}-*"],
          # Who deletes a database deletes what is in it, and has to be allowed to.
          [for kind in ["table", "userDefinedFunction"] : "${local.arn}:glue:${local.here}:${kind}/${local.databases}_*/*"],
        )
      },
      {
        # These know no resource.
        Sid    = "GlueWithoutResource"
        Effect = "Allow"
        Action = [
          "glue:CreateClassifier", "glue:CreateCrawler", "glue:CreateSecurityConfiguration", "glue:DeleteClassifier", "glue:DeleteSecurityConfiguration",
          "glue:GetClassifier", "glue:GetSecurityConfiguration", "glue:UpdateClassifier",
        ]
        Resource = ["*"]
      },
    ]
    control = concat(
      [
        {
          Sid      = "RolesWithinTheBoundary"
          Effect   = "Allow"
          Action   = ["iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
          Resource = [local.role_arns]
          # The one thing that keeps a delivery from giving itself more than the stage has.
          Condition = { StringEquals = { "iam:PermissionsBoundary" = var.permissions_boundary_arn } }
        },
        {
          Sid    = "Roles"
          Effect = "Allow"
          Action = [
            "iam:DeleteRole", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies",
            "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription",
          ]
          Resource = [local.role_arns]
        },
        {
          Sid      = "LookAtPolicies"
          Effect   = "Allow"
          Action   = ["iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListPolicyVersions"]
          Resource = distinct(["${local.arn}:iam::${var.account_id}:policy/${var.name}-*", var.permissions_boundary_arn])
        },
        {
          Sid       = "HandRolesToGlue"
          Effect    = "Allow"
          Action    = ["iam:PassRole"]
          Resource  = [local.role_arns]
          Condition = { StringEquals = { "iam:PassedToService" = "glue.amazonaws.com" } }
        },
        {
          Sid    = "LogGroups"
          Effect = "Allow"
          Action = [
            "logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DeleteMetricFilter", "logs:DescribeMetricFilters", "logs:DisassociateKmsKey",
            "logs:ListTagsForResource", "logs:PutMetricFilter", "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource",
          ]
          Resource = ["${local.arn}:logs:${local.here}:log-group:/aws-glue/jobs/${var.name}-*"]
        },
        {
          # A listing is of all, AWS asks for all.
          Sid      = "Listings"
          Effect   = "Allow"
          Action   = ["cloudwatch:DescribeAlarms", "kms:ListAliases", "logs:DescribeLogGroups"]
          Resource = ["*"]
        },
        {
          Sid    = "Alarms"
          Effect = "Allow"
          Action = [
            "cloudwatch:DeleteAlarms", "cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource",
            "cloudwatch:PutDashboard", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource",
          ]
          Resource = ["${local.arn}:cloudwatch:${local.here}:alarm:${var.name}-*", "${local.arn}:cloudwatch::${var.account_id}:dashboard/${var.name}"]
        },
        {
          Sid    = "Topic"
          Effect = "Allow"
          Action = [
            "sns:CreateTopic", "sns:DeleteTopic", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic",
            "sns:ListTagsForResource", "sns:SetTopicAttributes", "sns:Subscribe", "sns:TagResource", "sns:UntagResource",
          ]
          Resource = ["${local.arn}:sns:${local.here}:${var.name}-alarms"]
        },
        {
          # These know no resource.
          Sid      = "Subscriptions"
          Effect   = "Allow"
          Action   = ["sns:GetSubscriptionAttributes", "sns:Unsubscribe"]
          Resource = ["*"]
        },
        {
          Sid    = "Events"
          Effect = "Allow"
          Action = [
            "events:DeleteRule", "events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule", "events:PutRule",
            "events:PutTargets", "events:RemoveTargets", "events:TagResource", "events:UntagResource",
          ]
          Resource = ["${local.arn}:events:${local.here}:rule/${var.name}-*"]
        },
        {
          Sid    = "Workgroup"
          Effect = "Allow"
          Action = [
            "athena:CreateNamedQuery", "athena:CreateWorkGroup", "athena:DeleteNamedQuery", "athena:DeleteWorkGroup", "athena:GetNamedQuery", "athena:GetWorkGroup",
            "athena:ListTagsForResource", "athena:TagResource", "athena:UntagResource", "athena:UpdateWorkGroup",
          ]
          Resource = ["${local.arn}:athena:${local.here}:workgroup/${var.name}"]
        },
      ],
      length(var.kms_key_arns) == 0 ? [] : [{
        Sid    = "Keys"
        Effect = "Allow"
        Action = [
          "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags",
        ]
        Resource = var.kms_key_arns
      }],
    )
  }

  # Actions that only look, and the key, without which the state cannot be read.
  looking = {
    for part, statements in local.statements : part => [
      for statement in statements : merge(statement, { Action = [for action in statement.Action : action if can(regex(":(Get|List|Describe|Decrypt)", action))] })
      if anytrue([for action in statement.Action : can(regex(":(Get|List|Describe|Decrypt)", action))])
    ]
  }

  policies = merge(
    { for part, statements in local.statements : "apply-${part}" => jsonencode({ Version = "2012-10-17", Statement = statements }) },
    { for part, statements in local.looking : "plan-${part}" => jsonencode({ Version = "2012-10-17", Statement = statements }) },
  )
}

resource "aws_iam_policy" "this" {
  for_each = local.policies

  name        = "${local.prefix}-${each.key}"
  description = startswith(each.key, "plan") ? "Look at ${var.name}, but not at its data." : "Change ${var.name}, but not its data."
  policy      = each.value

  lifecycle {
    precondition {
      # White space does not count, and jsonencode writes none.
      condition     = length(each.value) <= 6144
      error_message = "The policy ${each.key} is longer than the 6,144 characters that IAM takes."
    }
  }
}
