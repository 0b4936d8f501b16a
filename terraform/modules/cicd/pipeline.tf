# CodePipeline: source, tests, plan, a person's approval, and the very plan that was approved is applied.
locals {
  builds = var.pipeline == null ? {} : {
    test = {
      description = "Tests and linters"
      commands    = ["make test"]
    }
    plan = {
      description = "The wheel, and what Terraform would change"
      commands = [
        "make wheel",
        "cd terraform",
        local.init,
        "terraform workspace select ${var.environment}",
        # Whoever only looks may not write the lock.
        "terraform plan -input=false -lock=false -var-file=envs/${var.environment}.tfvars -out=approved.tfplan",
      ]
    }
    apply = {
      description = "The approved plan: infrastructure, job script and wheel"
      commands = [
        "cd terraform",
        local.init,
        "terraform workspace select ${var.environment}",
        "terraform apply -input=false approved.tfplan",
      ]
    }
  }

  # The clone has no backend.tf: that file is each user's own. Not `encrypt = true`: without a key beside it, that asks
  # for S3's own key, where the bucket's default is the key of the state.
  init = join(" ", concat(
    ["printf 'terraform {\\n  backend \"s3\" {}\\n}\\n' >backend.tf && terraform init -input=false"],
    [for name, value in {
      bucket       = var.state_bucket
      key          = var.state_key
      region       = coalesce(var.state_region, var.region)
      use_lockfile = true
    } : "-backend-config=${name}=${value}"],
  ))

  # CodeBuild's Amazon Linux, with Terraform from its maker's own package source.
  install = [
    "dnf install -y dnf-plugins-core",
    "dnf config-manager --add-repo https://rpm.releases.hashicorp.com/AmazonLinux/hashicorp.repo",
    "dnf install -y terraform-${var.terraform_version}",
  ]

  project_arns = { for build in keys(local.builds) : build => "${local.arn}:codebuild:${local.here}:project/${local.prefix}-${build}" }
}

resource "aws_codeconnections_connection" "github" {
  count = try(var.pipeline.connection_arn == null, false) ? 1 : 0

  name          = substr(local.prefix, 0, 32)
  provider_type = "GitHub"
}

resource "aws_s3_bucket" "artifacts" {
  #checkov:skip=CKV_AWS_18:What is in it is a copy of the repository, and of plans, for two weeks.
  #checkov:skip=CKV_AWS_144:As above.
  #checkov:skip=CKV2_AWS_62:CodePipeline needs no events.
  count = var.pipeline == null ? 0 : 1

  bucket        = "${local.prefix}-artifacts-${var.account_id}"
  force_destroy = true
}

resource "aws_s3_bucket_versioning" "artifacts" {
  count = var.pipeline == null ? 0 : 1

  bucket = aws_s3_bucket.artifacts[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "artifacts" {
  count = var.pipeline == null ? 0 : 1

  bucket = aws_s3_bucket.artifacts[0].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.pipeline.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.pipeline.kms_key_arn
    }

    bucket_key_enabled = var.pipeline.kms_key_arn != null
  }
}

resource "aws_s3_bucket_public_access_block" "artifacts" {
  count = var.pipeline == null ? 0 : 1

  bucket = aws_s3_bucket.artifacts[0].id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "artifacts" {
  count = var.pipeline == null ? 0 : 1

  bucket = aws_s3_bucket.artifacts[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DenyInsecureTransport"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.artifacts[0].arn, "${aws_s3_bucket.artifacts[0].arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.artifacts]
}

resource "aws_s3_bucket_lifecycle_configuration" "artifacts" {
  count = var.pipeline == null ? 0 : 1

  bucket = aws_s3_bucket.artifacts[0].id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = 14
    }

    noncurrent_version_expiration {
      noncurrent_days = 14
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }

  depends_on = [aws_s3_bucket_versioning.artifacts]
}

resource "aws_cloudwatch_log_group" "build" {
  for_each = local.builds

  name              = "/aws/codebuild/${local.prefix}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.pipeline.kms_key_arn
}

resource "aws_codebuild_project" "this" {
  for_each = local.builds

  name           = "${local.prefix}-${each.key}"
  description    = each.value.description
  service_role   = aws_iam_role.this[each.key].arn
  build_timeout  = each.key == "test" ? 120 : 60
  encryption_key = var.pipeline.kms_key_arn

  artifacts {
    type = "CODEPIPELINE"
  }

  environment {
    type         = "LINUX_CONTAINER"
    compute_type = each.key == "test" ? "BUILD_GENERAL1_LARGE" : "BUILD_GENERAL1_SMALL"
    image        = var.pipeline.image
  }

  logs_config {
    cloudwatch_logs {
      group_name = aws_cloudwatch_log_group.build[each.key].name
    }
  }

  source {
    type = "CODEPIPELINE"

    # Nothing of the repository decides what a role with rights runs, but its Makefile and Terraform.
    buildspec = yamlencode({
      version = "0.2"
      env     = { shell = "bash" }
      phases = {
        install = { runtime-versions = { python = "3.11", java = "corretto17" }, commands = local.install }
        build   = { commands = each.value.commands }
      }
      artifacts = {
        base-directory = "."
        files          = ["**/*"]
        exclude-paths  = [".venv/**/*", ".finlake/**/*", "terraform/.terraform/**/*"]
      }
    })
  }
}

resource "aws_codepipeline" "this" {
  count = var.pipeline == null ? 0 : 1

  name           = local.prefix
  role_arn       = aws_iam_role.pipeline[0].arn
  pipeline_type  = "V2"
  execution_mode = "QUEUED" # one delivery at a time

  artifact_store {
    type     = "S3"
    location = aws_s3_bucket.artifacts[0].bucket

    dynamic "encryption_key" {
      for_each = var.pipeline.kms_key_arn == null ? [] : [var.pipeline.kms_key_arn]

      content {
        id   = encryption_key.value
        type = "KMS"
      }
    }
  }

  stage {
    name = "Source"

    action {
      name             = "GitHub"
      category         = "Source"
      owner            = "AWS"
      provider         = "CodeStarSourceConnection"
      version          = "1"
      output_artifacts = ["source"]

      configuration = {
        ConnectionArn    = local.connection_arn
        FullRepositoryId = var.pipeline.repository
        BranchName       = var.pipeline.branch
      }
    }
  }

  stage {
    name = "Test"

    action {
      name            = "Test"
      category        = "Test"
      owner           = "AWS"
      provider        = "CodeBuild"
      version         = "1"
      input_artifacts = ["source"]
      configuration   = { ProjectName = aws_codebuild_project.this["test"].name }
    }
  }

  stage {
    name = "Plan"

    action {
      name             = "Plan"
      category         = "Build"
      owner            = "AWS"
      provider         = "CodeBuild"
      version          = "1"
      input_artifacts  = ["source"]
      output_artifacts = ["planned"]
      configuration    = { ProjectName = aws_codebuild_project.this["plan"].name }
    }
  }

  stage {
    name = "Approve"

    action {
      name     = "Approve"
      category = "Approval"
      owner    = "AWS"
      provider = "Manual"
      version  = "1"

      configuration = merge(
        { CustomData = "Read the plan in the log of ${local.prefix}-plan before you approve." },
        var.pipeline.approval_topic_arn == null ? {} : { NotificationArn = var.pipeline.approval_topic_arn },
      )
    }
  }

  stage {
    name = "Apply"

    action {
      name            = "Apply"
      category        = "Build"
      owner           = "AWS"
      provider        = "CodeBuild"
      version         = "1"
      input_artifacts = ["planned"]
      configuration   = { ProjectName = aws_codebuild_project.this["apply"].name }
    }
  }
}

# --- what the pipeline itself needs ---------------------------------------------------------------

resource "aws_iam_role_policy" "build" {
  for_each = local.builds

  name = "build"
  role = aws_iam_role.this[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Artifacts"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
          Resource = ["${aws_s3_bucket.artifacts[0].arn}/*"]
        },
        {
          Sid      = "Logs"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["${aws_cloudwatch_log_group.build[each.key].arn}:*"]
        },
      ],
      local.artifact_key,
    )
  })
}

resource "aws_iam_role" "pipeline" {
  count = var.pipeline == null ? 0 : 1

  name        = "${local.prefix}-pipeline"
  description = "CodePipeline delivers to ${var.name}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "codepipeline.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "pipeline" {
  count = var.pipeline == null ? 0 : 1

  name = "access"
  role = aws_iam_role.pipeline[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Source"
          Effect   = "Allow"
          Action   = ["codeconnections:UseConnection", "codestar-connections:UseConnection"] # the same right, before and after AWS renamed it
          Resource = [local.connection_arn]
        },
        {
          Sid      = "Builds"
          Effect   = "Allow"
          Action   = ["codebuild:BatchGetBuilds", "codebuild:StartBuild"]
          Resource = values(local.project_arns)
        },
        {
          Sid      = "Artifacts"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
          Resource = ["${aws_s3_bucket.artifacts[0].arn}/*"]
        },
        {
          Sid      = "ArtifactBucket"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation", "s3:GetBucketVersioning"]
          Resource = [aws_s3_bucket.artifacts[0].arn]
        },
      ],
      var.pipeline.approval_topic_arn == null ? [] : [{
        Sid      = "AskForApproval"
        Effect   = "Allow"
        Action   = ["sns:Publish"]
        Resource = [var.pipeline.approval_topic_arn]
      }],
      local.artifact_key,
    )
  })
}

locals {
  connection_arn = var.pipeline == null ? null : coalesce(var.pipeline.connection_arn, one(aws_codeconnections_connection.github[*].arn))
  artifact_key = try(var.pipeline.kms_key_arn, null) == null ? [] : [{
    Sid      = "UseKey"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = [var.pipeline.kms_key_arn]
  }]
}
