# Who delivers: roles for looking (plan), changing (apply) and, in CodePipeline, testing. GitHub Actions takes
# them on by its own identity (OpenID Connect), CodeBuild by being CodeBuild; no key is stored anywhere.
locals {
  # Not the stage's own prefix: what a delivery may change is named after the stage, and these it may not.
  prefix = "delivery-${var.name}"
  roles  = concat(["plan", "apply"], var.pipeline == null ? [] : ["test"])

  github_provider = var.github == null ? null : coalesce(var.github.provider_arn, one(aws_iam_openid_connect_provider.github[*].arn))
  github_subjects = var.github == null ? {} : {
    plan  = ["repo:${var.github.repository}:pull_request", "repo:${var.github.repository}:ref:refs/heads/${var.github.branch}"]
    apply = ["repo:${var.github.repository}:environment:${var.environment}"]
  }

  trust = {
    for role in local.roles : role => concat(
      var.pipeline == null ? [] : [jsondecode(jsonencode({
        Sid       = "CodeBuild"
        Effect    = "Allow"
        Principal = { Service = "codebuild.amazonaws.com" }
        Action    = "sts:AssumeRole"
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      }))],
      !contains(keys(local.github_subjects), role) ? [] : [jsondecode(jsonencode({
        Sid       = "GitHub"
        Effect    = "Allow"
        Principal = { Federated = local.github_provider }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
            "token.actions.githubusercontent.com:sub" = local.github_subjects[role]
          }
        }
      }))],
    )
  }
}

# One per account: name yours, if it is there.
resource "aws_iam_openid_connect_provider" "github" {
  count = try(var.github.provider_arn == null, false) ? 1 : 0

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "this" {
  for_each = toset(local.roles)

  name                 = "${local.prefix}-${each.key}"
  description          = { plan = "Looks at ${var.name}", apply = "Changes ${var.name}", test = "Tests what is to be delivered to ${var.name}" }[each.key]
  max_session_duration = 3600

  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = local.trust[each.key] })

  lifecycle {
    precondition {
      condition     = length(local.trust[each.key]) > 0
      error_message = "Nobody could take on this role: name github, pipeline, or both."
    }
  }
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = aws_iam_policy.this

  role       = aws_iam_role.this[split("-", each.key)[0]].name
  policy_arn = each.value.arn
}
