# A model trained on a Gold table, by a state machine: Athena selects the features (it knows which files of a
# Delta table are current; SageMaker does not), SageMaker trains on them with the script that also trains on the
# laptop, and the model is registered, where a person approves it. No endpoint is deployed: a Glue job may score
# by the newest approved version (the module glue has it).
locals {
  partition_arn = "arn:${var.partition}"
  buckets       = { for bucket in ["gold", "athena", "scripts"] : bucket => "${local.partition_arn}:s3:::${var.buckets[bucket]}" }
  glue          = "${local.partition_arn}:glue:${var.region}:${var.account_id}"
  group_arn     = "${local.partition_arn}:sagemaker:${var.region}:${var.account_id}:model-package-group/${local.group}"
  group         = var.model_package_group
  features      = "training" # folder of the Athena bucket: expires as query results do
  models        = "models"   # folder of the scripts bucket: stays

  # The package of the script; each state of it has a folder of its own, as Glue's code has.
  files       = { for name in fileset(var.code_path, "*.{py,j2}") : name => filesha256("${var.code_path}/${name}") }
  code        = "ml/${substr(sha256(jsonencode(local.files)), 0, 16)}"
  code_folder = "/opt/ml/input/data/code" # where SageMaker puts the channel of that name

  image      = var.image != null ? var.image : data.aws_sagemaker_prebuilt_ecr_image.scikit_learn[0].registry_path
  image_part = regex("^(?P<account>[0-9]{12})\\.dkr\\.ecr\\.(?P<region>[a-z0-9-]+)\\.[a-z.]+/(?P<repository>[^:@]+)", local.image)
  image_arn  = "${local.partition_arn}:ecr:${local.image_part.region}:${local.image_part.account}:repository/${local.image_part.repository}"

  use_key = var.kms_key_arn == null ? [] : [{
    Sid      = "UseKey"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = [var.kms_key_arn]
  }]

  # Within States.Format, quotes are escaped, and braces are places to fill in.
  unload = join("", [
    "UNLOAD (${replace(trimspace(var.feature_query), "'", "\\'")}) ",
    "TO \\'s3://${var.buckets.athena}/${local.features}/{}/\\' ",
    "WITH (format = \\'PARQUET\\')",
  ])
}

# AWS's own scikit-learn image of the region, unless another one is named.
data "aws_sagemaker_prebuilt_ecr_image" "scikit_learn" {
  count = var.image == null ? 1 : 0

  repository_name = "sagemaker-scikit-learn"
  image_tag       = "1.2-1-cpu-py3"
  region          = var.region
}

resource "aws_s3_object" "code" {
  for_each = var.state_machine ? local.files : {}

  bucket      = var.buckets.scripts
  key         = "${local.code}/ml/${each.key}"
  source      = "${var.code_path}/${each.key}"
  source_hash = filemd5("${var.code_path}/${each.key}")
}

resource "aws_sagemaker_model_package_group" "this" {
  model_package_group_name        = local.group
  model_package_group_description = "Models of ${var.name}: each version waits for a person to approve it."
}

# --- who trains -----------------------------------------------------------------------------------

resource "aws_iam_role" "training" {
  name                 = "${var.name}-training"
  description          = "SageMaker trains on the features of ${var.name}"
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "sagemaker.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "training" {
  name = "access"
  role = aws_iam_role.training.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadFeatures"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = ["${local.buckets.athena}/${local.features}/*"]
        },
        {
          Sid       = "ListFeatures"
          Effect    = "Allow"
          Action    = ["s3:ListBucket"]
          Resource  = [local.buckets.athena]
          Condition = { StringLike = { "s3:prefix" = ["${local.features}/*"] } }
        },
        {
          Sid      = "ReadCode"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = ["${local.buckets.scripts}/ml/*"]
        },
        {
          Sid       = "ListCode"
          Effect    = "Allow"
          Action    = ["s3:ListBucket"]
          Resource  = [local.buckets.scripts]
          Condition = { StringLike = { "s3:prefix" = ["ml/*"] } }
        },
        {
          Sid      = "WriteModels"
          Effect   = "Allow"
          Action   = ["s3:AbortMultipartUpload", "s3:PutObject"]
          Resource = ["${local.buckets.scripts}/${local.models}/*"]
        },
        {
          Sid      = "PullImage"
          Effect   = "Allow"
          Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
          Resource = [local.image_arn]
        },
        {
          # It knows no resource.
          Sid      = "LogIntoRegistry"
          Effect   = "Allow"
          Action   = ["ecr:GetAuthorizationToken"]
          Resource = ["*"]
        },
        {
          # All training jobs of an account share this log group.
          Sid      = "WriteLogs"
          Effect   = "Allow"
          Action   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
          Resource = [for end in ["", ":*"] : "${local.partition_arn}:logs:${var.region}:${var.account_id}:log-group:/aws/sagemaker/TrainingJobs${end}"]
        },
        {
          # It knows no resource either; the namespace narrows it.
          Sid       = "WriteMetrics"
          Effect    = "Allow"
          Action    = ["cloudwatch:PutMetricData"]
          Resource  = ["*"]
          Condition = { StringEquals = { "cloudwatch:namespace" = "/aws/sagemaker/TrainingJobs" } }
        },
      ],
      local.use_key,
    )
  })
}

# --- the way to a model ---------------------------------------------------------------------------

resource "aws_sfn_state_machine" "training" {
  #checkov:skip=CKV_AWS_284:Nothing here calls on from service to service; the history shows each step.
  #checkov:skip=CKV_AWS_285:Step Functions keeps each execution's history for 90 days.
  count = var.state_machine ? 1 : 0

  name     = "${var.name}-training"
  role_arn = aws_iam_role.workflow.arn

  definition = jsonencode({
    Comment = "Features from Gold, training, registration."
    StartAt = "Name it"
    States = {
      "Name it" = {
        Type       = "Pass"
        Parameters = { "id.$" = "States.UUID()" }
        ResultPath = "$.run"
        Next       = "Select features"
      }
      "Select features" = {
        Type     = "Task"
        Resource = "${local.partition_arn}:states:::athena:startQueryExecution.sync"
        Parameters = {
          "QueryString.$"       = "States.Format('${local.unload}', $.run.id)"
          QueryExecutionContext = { Catalog = "AwsDataCatalog", Database = var.database }
          WorkGroup             = var.workgroup
        }
        ResultPath = null
        Next       = "Train"
      }
      "Train" = {
        Type     = "Task"
        Resource = "${local.partition_arn}:states:::sagemaker:createTrainingJob.sync"
        Parameters = {
          "TrainingJobName.$" = "States.Format('${var.name}-{}', $.run.id)"
          RoleArn             = aws_iam_role.training.arn
          AlgorithmSpecification = {
            TrainingImage     = local.image
            TrainingInputMode = "File"
            # What the script prints of its test.
            MetricDefinitions = [
              for name in ["test_auc", "test_pr_auc", "test_brier", "test_ks"] : { Name = name, Regex = "${name}=([0-9.]+);" }
            ]
          }
          # SageMaker's script mode: these two name the script, all others become its arguments.
          HyperParameters = merge(var.hyperparameters, {
            sagemaker_program          = "ml/train.py"
            sagemaker_submit_directory = local.code_folder
          })
          InputDataConfig = [
            {
              ChannelName = "training"
              DataSource = {
                S3DataSource = {
                  S3DataType             = "S3Prefix"
                  "S3Uri.$"              = "States.Format('s3://${var.buckets.athena}/${local.features}/{}/', $.run.id)"
                  S3DataDistributionType = "FullyReplicated"
                }
              }
            },
            {
              ChannelName = "code"
              DataSource = {
                S3DataSource = {
                  S3DataType             = "S3Prefix"
                  S3Uri                  = "s3://${var.buckets.scripts}/${local.code}/"
                  S3DataDistributionType = "FullyReplicated"
                }
              }
            },
          ]
          OutputDataConfig = merge(
            { S3OutputPath = "s3://${var.buckets.scripts}/${local.models}/" },
            var.kms_key_arn == null ? {} : { KmsKeyId = var.kms_key_arn },
          )
          ResourceConfig = {
            InstanceCount  = 1
            InstanceType   = var.instance_type
            VolumeSizeInGB = var.volume_gib
          }
          StoppingCondition = { MaxRuntimeInSeconds = 60 * var.timeout_minutes }
          # What trains needs no network: data comes in and the model goes out through SageMaker.
          EnableNetworkIsolation = true
        }
        ResultPath = "$.training"
        Next       = "Register"
      }
      "Register" = {
        Type     = "Task"
        Resource = "${local.partition_arn}:states:::aws-sdk:sagemaker:createModelPackage"
        Parameters = {
          ModelPackageGroupName = aws_sagemaker_model_package_group.this.model_package_group_name
          ModelApprovalStatus   = "PendingManualApproval"
          InferenceSpecification = {
            Containers = [{
              Image            = local.image
              "ModelDataUrl.$" = "$.training.ModelArtifacts.S3ModelArtifacts"
              # The model brings its code.
              Environment = {
                SAGEMAKER_PROGRAM          = "inference.py"
                SAGEMAKER_SUBMIT_DIRECTORY = "/opt/ml/model/code"
              }
            }]
            SupportedContentTypes      = ["application/json"]
            SupportedResponseMIMETypes = ["application/json"]
          }
        }
        End = true
      }
    }
  })
}

resource "aws_iam_role" "workflow" {
  name                 = "${var.name}-training-workflow"
  description          = "Step Functions runs the training of ${var.name}"
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "states.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "workflow" {
  name = "access"
  role = aws_iam_role.workflow.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "Query"
          Effect = "Allow"
          Action = ["athena:GetDataCatalog", "athena:GetQueryExecution", "athena:StartQueryExecution", "athena:StopQueryExecution"]
          Resource = [
            "${local.partition_arn}:athena:${var.region}:${var.account_id}:workgroup/${var.workgroup}",
            "${local.partition_arn}:athena:${var.region}:${var.account_id}:datacatalog/AwsDataCatalog",
          ]
        },
        {
          Sid    = "ReadCatalog"
          Effect = "Allow"
          Action = ["glue:GetDatabase", "glue:GetPartitions", "glue:GetTable"]
          Resource = concat(
            ["${local.glue}:catalog", "${local.glue}:database/${var.database}"],
            [for table in var.feature_tables : "${local.glue}:table/${var.database}/${table}"],
          )
        },
        {
          Sid      = "ReadGold"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = [for table in var.feature_tables : "${local.buckets.gold}/${table}/*"]
        },
        {
          Sid       = "ListGold"
          Effect    = "Allow"
          Action    = ["s3:ListBucket"]
          Resource  = [local.buckets.gold]
          Condition = { StringLike = { "s3:prefix" = flatten([for table in var.feature_tables : [table, "${table}/*"]]) } }
        },
        {
          Sid      = "WriteFeatures"
          Effect   = "Allow"
          Action   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
          Resource = ["${local.buckets.athena}/${local.features}/*", "${local.buckets.athena}/results/*"]
        },
        {
          Sid      = "LookIntoResults"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
          Resource = [local.buckets.athena]
        },
        {
          Sid      = "LocateGold"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation"]
          Resource = [local.buckets.gold]
        },
        {
          Sid      = "Train"
          Effect   = "Allow"
          Action   = ["sagemaker:AddTags", "sagemaker:CreateTrainingJob", "sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"]
          Resource = ["${local.partition_arn}:sagemaker:${var.region}:${var.account_id}:training-job/${var.name}-*"]
        },
        {
          Sid       = "HandOverRole"
          Effect    = "Allow"
          Action    = ["iam:PassRole"]
          Resource  = [aws_iam_role.training.arn]
          Condition = { StringEquals = { "iam:PassedToService" = "sagemaker.amazonaws.com" } }
        },
        {
          # The rule by which Step Functions learns that a training job ended; it is of this name, always.
          Sid      = "WaitForTraining"
          Effect   = "Allow"
          Action   = ["events:DescribeRule", "events:PutRule", "events:PutTargets"]
          Resource = ["${local.partition_arn}:events:${var.region}:${var.account_id}:rule/StepFunctionsGetEventsForSageMakerTrainingJobsRule"]
        },
        {
          Sid      = "Register"
          Effect   = "Allow"
          Action   = ["sagemaker:CreateModelPackage"]
          Resource = [local.group_arn, "${local.partition_arn}:sagemaker:${var.region}:${var.account_id}:model-package/${local.group}/*"]
        },
        {
          Sid      = "ReadModels"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = ["${local.buckets.scripts}/${local.models}/*"]
        },
      ],
      local.use_key,
    )
  })
}
