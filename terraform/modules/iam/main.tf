# One role per job, and one for the crawlers. ARNs are put together from names, so that the roles need
# not wait for buckets and databases, and so that each line below says exactly what it grants.
locals {
  s3   = { for layer, name in merge(var.buckets, { for k, v in var.public_buckets : "public_${k}" => v }) : layer => "arn:${var.partition}:s3:::${name}" }
  glue = "arn:${var.partition}:glue:${var.region}:${var.account_id}"
  logs = "arn:${var.partition}:logs:${var.region}:${var.account_id}"

  sagemaker = "arn:${var.partition}:sagemaker:${var.region}:${var.account_id}"

  read_objects  = ["s3:GetObject"]
  write_objects = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
  read_catalog  = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables"]
  write_catalog = ["glue:CreateTable", "glue:UpdateTable"]
  copies        = [for layer in sort(keys(var.public_buckets)) : "public_${layer}"]
  entities      = keys(var.entities)
  partitions = [
    "glue:BatchCreatePartition",
    "glue:BatchGetPartition",
    "glue:BatchUpdatePartition",
    "glue:CreatePartition",
    "glue:GetPartition",
    "glue:GetPartitions",
    "glue:UpdatePartition",
  ]
  erased         = [for layer in sort(keys(local.s3)) : layer if contains(["bronze", "silver", "gold"], trimprefix(layer, "public_"))]
  run_store      = "_ops"
  quarantine_dir = "_quarantine"
  staging_dir    = "_staging"

  # Per job, the folders it may list and read, and those it may write too, by bucket.
  jobs = merge(
    {
      for entity, parents in var.entities : "silver-${entity}" => {
        read = {
          bronze = [entity]
          silver = parents
        }
        write = {
          silver = [entity, "${entity}_history", "${local.quarantine_dir}/${entity}", "${local.staging_dir}/${entity}", local.run_store]
        }
        # Before it makes a folder there, S3A asks for the folder and those above it as if they were files.
        above = { silver = [local.staging_dir, "${local.staging_dir}/${entity}"] }
        # Tables as "database/table".
        write_tables = ["${var.databases.silver}/${entity}", "${var.databases.silver}/${entity}_history", "${var.databases.quarantine}/${entity}", "${var.databases.ops}/*"]
      }
    },
    {
      gold = {
        read         = { silver = var.gold_inputs }
        write        = { silver = [local.run_store], gold = [""] }
        above        = {}
        write_tables = ["${var.databases.gold}/*", "${var.databases.ops}/*"]
      }
      # It rewrites the files of all tables, and touches neither Bronze nor the catalogue.
      maintenance = {
        read         = {}
        write        = { silver = [""], gold = [""] }
        above        = {}
        write_tables = []
      }
    },
    var.scoring_group == null ? {} : {
      scoring = {
        read         = { gold = ["loan_default_features"] }
        write        = { gold = ["loan_default_scores"] }
        above        = {}
        write_tables = ["${var.databases.gold}/loan_default_scores"]
      }
    },
  )

  # What scoring needs to find a model: SageMaker's registry, and the archives that training has left.
  find_model = var.scoring_group == null ? [] : [{
    Sid    = "FindModel"
    Effect = "Allow"
    Action = ["sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup", "sagemaker:ListModelPackages"]
    Resource = [
      "${local.sagemaker}:model-package-group/${var.scoring_group}",
      "${local.sagemaker}:model-package/${var.scoring_group}/*",
    ]
  }]

  job_statements = {
    for job, access in local.jobs : job => concat(
      [
        {
          Sid      = "ReadCode"
          Effect   = "Allow"
          Action   = local.read_objects
          Resource = ["${local.s3.scripts}/jobs/*", "${local.s3.scripts}/wheels/*"]
        },
        {
          # Spark's event log, for its user interface: written in parts, and renamed at the end.
          Sid      = "WriteSparkEvents"
          Effect   = "Allow"
          Action   = local.write_objects
          Resource = ["${local.s3.scripts}/spark-ui/${job}/*"]
        },
        {
          Sid       = "ListSparkEvents"
          Effect    = "Allow"
          Action    = ["s3:ListBucket"]
          Resource  = [local.s3.scripts]
          Condition = { StringLike = { "s3:prefix" = ["spark-ui/${job}", "spark-ui/${job}/*"] } }
        },
      ],
      length(access.above) == 0 ? [] : [
        {
          Sid      = "AskForFolders"
          Effect   = "Allow"
          Action   = local.read_objects
          Resource = flatten([for layer, folders in access.above : [for folder in folders : "${local.s3[layer]}/${folder}"]])
        },
      ],
      length(flatten(values(access.read))) == 0 ? [] : [
        {
          Sid    = "ReadData"
          Effect = "Allow"
          Action = local.read_objects
          Resource = flatten([
            for layer, folders in access.read : [for folder in folders : "${local.s3[layer]}/${folder}/*"]
          ])
        },
      ],
      [
        {
          Sid    = "WriteData"
          Effect = "Allow"
          Action = local.write_objects
          Resource = flatten([
            for layer, folders in access.write : [for folder in folders : "${local.s3[layer]}/${folder == "" ? "*" : "${folder}/*"}"]
          ])
        },
        {
          Sid      = "LocateBuckets"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation"]
          Resource = [for layer in sort(distinct(concat(keys(access.read), keys(access.write), ["scripts"]))) : local.s3[layer]]
        },
      ],
      [
        for layer in sort(distinct(concat(keys(access.read), keys(access.write)))) : {
          Sid      = "List${replace(title(replace(layer, "_", " ")), " ", "")}"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = [local.s3[layer]]
          Condition = {
            StringLike = {
              "s3:prefix" = concat(
                flatten([
                  for folder in concat(lookup(access.read, layer, []), lookup(access.write, layer, [])) :
                  folder == "" ? ["*"] : [folder, "${folder}/*"]
                ]),
                [for folder in lookup(access.above, layer, []) : "${folder}/"],
              )
            }
          }
        }
      ],
      length(access.write_tables) == 0 ? [] : [
        {
          # A listing names all tables of a database, so AWS asks for all of them. It shows no data.
          Sid    = "ListTables"
          Effect = "Allow"
          Action = ["glue:GetTables"]
          Resource = concat(
            ["${local.glue}:catalog"],
            flatten([
              for database in distinct([for table in access.write_tables : split("/", table)[0]]) :
              ["${local.glue}:database/${database}", "${local.glue}:table/${database}/*"]
            ]),
          )
        },
        {
          Sid    = "FindDatabases"
          Effect = "Allow"
          Action = ["glue:GetDatabase"]
          Resource = concat(
            ["${local.glue}:catalog"],
            [for database in distinct([for table in access.write_tables : split("/", table)[0]]) : "${local.glue}:database/${database}"],
          )
        },
        {
          Sid    = "WriteCatalog"
          Effect = "Allow"
          Action = local.write_catalog
          Resource = concat(
            ["${local.glue}:catalog"],
            [for table in access.write_tables : "${local.glue}:table/${table}"],
            [for database in distinct([for table in access.write_tables : split("/", table)[0]]) : "${local.glue}:database/${database}"],
          )
        },
      ],
      [
        {
          Sid      = "WriteLogs"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["${local.logs}:log-group:${var.log_group_prefix}-${job}/*"]
        },
        {
          # PutMetricData knows no resource, AWS demands the wildcard; the namespace narrows it to Glue's own.
          Sid       = "WriteMetrics"
          Effect    = "Allow"
          Action    = ["cloudwatch:PutMetricData"]
          Resource  = ["*"]
          Condition = { StringEquals = { "cloudwatch:namespace" = "Glue" } }
        },
      ],
      job != "scoring" ? [] : [
        {
          Sid      = "ReadModel"
          Effect   = "Allow"
          Action   = local.read_objects
          Resource = ["${local.s3.scripts}/models/*"]
        },
        {
          Sid      = "HoldGoldsLock"
          Effect   = "Allow"
          Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
          Resource = ["${local.s3.silver}/${local.run_store}/_locks/gold.json"]
        },
      ],
      job != "scoring" ? [] : local.find_model,
      local.use_key,
    )
  }

  crawler_statements = concat(
    [
      {
        Sid      = "ReadData"
        Effect   = "Allow"
        Action   = local.read_objects
        Resource = concat([for layer in ["bronze", "silver"] : [for entity in local.entities : "${local.s3[layer]}/${entity}/*"]]...)
      },
      {
        Sid      = "ReadGold"
        Effect   = "Allow"
        Action   = local.read_objects
        Resource = ["${local.s3.gold}/*"]
      },
      {
        Sid      = "ListBuckets"
        Effect   = "Allow"
        Action   = ["s3:GetBucketLocation", "s3:ListBucket"]
        Resource = [for layer in ["bronze", "silver", "gold"] : local.s3[layer]]
      },
      {
        Sid    = "Catalog"
        Effect = "Allow"
        Action = concat(local.read_catalog, local.write_catalog, local.partitions)
        Resource = concat(
          ["${local.glue}:catalog"],
          flatten([
            for layer in ["bronze", "silver", "gold"] :
            ["${local.glue}:database/${var.databases[layer]}", "${local.glue}:table/${var.databases[layer]}/*"]
          ]),
        )
      },
      {
        # All crawlers of an account share this log group; Glue creates it and offers no other.
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${local.logs}:log-group:/aws-glue/crawlers", "${local.logs}:log-group:/aws-glue/crawlers:*"]
      },
    ],
    local.use_key,
  )

  use_key = var.kms_key_arn == null ? [] : [{
    Sid      = "UseKey"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = [var.kms_key_arn]
  }]

  # jsonencode per role: the statements differ in shape, and a map must not mix types.
  policies = merge(
    { for job, statements in local.job_statements : job => jsonencode({ Version = "2012-10-17", Statement = statements }) },
    { crawler = jsonencode({ Version = "2012-10-17", Statement = local.crawler_statements }) },
  )
}

resource "aws_iam_role" "this" {
  for_each = toset(concat(keys(local.jobs), ["crawler"]))

  name        = "${var.name}-${each.key}"
  description = each.key == "crawler" ? "Glue crawlers of ${var.name}" : "Glue job ${var.name}-${each.key}"

  permissions_boundary = var.permissions_boundary_arn != null ? var.permissions_boundary_arn : aws_iam_policy.boundary[0].arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "glue.amazonaws.com" }
      Action    = "sts:AssumeRole"
      # Keeps Glue from using the role for someone else's account (confused deputy). IfExists: AWS does not say that Glue
      # tells for whom it asks, and if it did not, no job could ever start. A role of another account cannot be
      # handed to Glue anyway.
      Condition = { StringEqualsIfExists = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = aws_iam_role.this

  name   = "access"
  role   = each.value.id
  policy = local.policies[each.key]
}

# What no role of this stage can ever get beyond, whatever policies are attached to it later.
resource "aws_iam_policy" "boundary" {
  count = var.permissions_boundary_arn == null ? 1 : 0

  name        = "${var.name}-boundary"
  description = "Permissions boundary of the roles of ${var.name}: its own buckets, databases, log groups and key."

  policy = jsonencode({
    Version = "2012-10-17"
    # As for the roles: statements of several shapes.
    Statement = concat(
      [
        {
          Sid      = "Data"
          Effect   = "Allow"
          Action   = sort(concat(local.write_objects, ["s3:GetBucketLocation", "s3:ListBucket"]))
          Resource = flatten([for layer in keys(var.buckets) : [local.s3[layer], "${local.s3[layer]}/*"]])
        },
        {
          Sid    = "Catalog"
          Effect = "Allow"
          Action = sort(concat(local.read_catalog, local.write_catalog, local.partitions))
          Resource = concat(
            ["${local.glue}:catalog"],
            flatten([for database in values(var.databases) : ["${local.glue}:database/${database}", "${local.glue}:table/${database}/*"]]),
          )
        },
        {
          Sid    = "Logs"
          Effect = "Allow"
          Action = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = [
            "${local.logs}:log-group:${var.log_group_prefix}-*",
            "${local.logs}:log-group:/aws-glue/crawlers",
            "${local.logs}:log-group:/aws-glue/crawlers:*",
          ]
        },
        {
          # PutMetricData knows no resource, see above.
          Sid       = "Metrics"
          Effect    = "Allow"
          Action    = ["cloudwatch:PutMetricData"]
          Resource  = ["*"]
          Condition = { StringEquals = { "cloudwatch:namespace" = "Glue" } }
        },
      ],
      local.find_model,
      local.use_key,
    )
  })
}

# For the people who erase persons (`finlake forget`): old versions of objects have to go as well, which
# no job may do. To be attached to their role or group by whoever manages those.
resource "aws_iam_policy" "erasure" {
  count = var.erasure_policy ? 1 : 0

  name        = "${var.name}-erasure"
  description = "Erase a person from ${var.name}, with `finlake forget`: all layers, old versions and masked copies."

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "FindEverywhere"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketVersions"]
          Resource = [for layer in local.erased : local.s3[layer]]
        },
        {
          Sid      = "ReplaceAndDelete"
          Effect   = "Allow"
          Action   = sort(concat(local.write_objects, ["s3:DeleteObjectVersion"]))
          Resource = [for layer in local.erased : "${local.s3[layer]}/*"]
        },
      ],
      local.use_key,
    )
  })
}

# For the people who bring masked copies up to date (`finlake publish`). No job does: it would have to be given the
# key of the masks.
resource "aws_iam_policy" "publishing" {
  count = var.publishing_policy ? 1 : 0

  name        = "${var.name}-publishing"
  description = "Bring the masked copies of ${var.name} up to date, with `finlake publish`."

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Find"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation", "s3:ListBucket"]
          Resource = [for layer in concat(["silver", "gold"], local.copies) : local.s3[layer]]
        },
        {
          Sid      = "Read"
          Effect   = "Allow"
          Action   = local.read_objects
          Resource = [for layer in ["silver", "gold"] : "${local.s3[layer]}/*"]
        },
        {
          Sid      = "WriteCopies"
          Effect   = "Allow"
          Action   = local.write_objects
          Resource = [for layer in local.copies : "${local.s3[layer]}/*"]
        },
        {
          # So that two people, or an erasure, do not write copies at the same time.
          Sid      = "Lock"
          Effect   = "Allow"
          Action   = ["s3:DeleteObject", "s3:PutObject"]
          Resource = ["${local.s3.silver}/${local.run_store}/_locks/public.json"]
        },
      ],
      local.use_key,
    )
  })

  lifecycle {
    precondition {
      condition     = length(local.copies) > 0
      error_message = "There is nowhere to publish to: set public_access or databricks as well."
    }
  }
}
