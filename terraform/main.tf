data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  name   = "${var.prefix}-${var.environment}"
  suffix = var.bucket_suffix == "" ? "" : "-${var.bucket_suffix}"

  # Names are computed here and nowhere else: policies and jobs refer to them without waiting for the
  # resources, and the pipeline derives the same names from FINLAKE_PREFIX and FINLAKE_ENV.
  buckets = { for layer in concat(["bronze", "silver", "gold", "scripts", "athena"], var.access_logs ? ["logs"] : []) : layer => "${local.name}-${layer}${local.suffix}" }
  public_buckets = var.public_access == "none" && var.databricks == null ? {} : {
    for layer in ["silver", "gold"] : layer => "${local.name}-public-${layer}${local.suffix}"
  }
  databases = {
    for layer in ["bronze", "silver", "gold", "quarantine", "ops"] : layer => replace("${local.name}_${layer}", "-", "_")
  }
  uris = {
    bronze     = "s3://${local.buckets.bronze}"
    silver     = "s3://${local.buckets.silver}"
    gold       = "s3://${local.buckets.gold}"
    quarantine = "s3://${local.buckets.silver}/_quarantine"
    ops        = "s3://${local.buckets.silver}/_ops"
  }
  # Columns with personal data, by table, as the contracts and the marts tell.
  personal = merge(
    { for entity, value in var.entities : "silver/${entity}" => value.pii if length(value.pii) > 0 },
    { for entity, value in var.entities : "silver/${entity}_history" => value.pii if value.history && length(value.pii) > 0 },
    {
      for mart, value in var.gold_marts : "gold/${mart}" => { for column in value.columns : column.name => column.pii if column.pii != null }
      if anytrue([for column in value.columns : column.pii != null])
    },
  )

  # The key of somebody else, or one made here, or none: then S3's own.
  kms_key_arn = var.create_kms_key ? module.kms[0].key_arn : var.kms_key_arn

  log_group_prefix = "/aws-glue/jobs/${local.name}"

  model_group   = "${local.name}-models"
  scoring_group = try(var.sagemaker.scoring, false) ? local.model_group : null

  # What the pipeline reads from its environment, on the laptop (`finlake`) and in Glue (job arguments).
  settings = merge(
    {
      AWS_REGION         = var.region
      FINLAKE_ENV        = var.environment
      FINLAKE_PREFIX     = var.prefix
      FINLAKE_BRONZE_URI = local.uris.bronze
      FINLAKE_SILVER_URI = local.uris.silver
      FINLAKE_GOLD_URI   = local.uris.gold
    },
    { for layer, bucket in local.public_buckets : "FINLAKE_PUBLIC_${upper(layer)}_URI" => "s3://${bucket}" },
  )

  repository  = "${path.root}/.."
  script      = var.script_path != null ? var.script_path : "${local.repository}/pipeline/glue_job.py"
  models      = var.models_path != null ? var.models_path : "${local.repository}/ml"
  constraints = var.constraints_path != null ? var.constraints_path : "${local.repository}/constraints.txt"
  built       = [for name in fileset("${local.repository}/dist", "finlake-*.whl") : "${local.repository}/dist/${name}"]
  wheel       = var.wheel_path != null ? var.wheel_path : try(one(local.built), null)
}

module "kms" {
  source = "./modules/kms"
  count  = var.create_kms_key ? 1 : 0

  name             = local.name
  account_id       = data.aws_caller_identity.current.account_id
  partition        = data.aws_partition.current.partition
  region           = var.region
  log_group_prefix = local.log_group_prefix
}

module "s3" {
  source = "./modules/s3"

  names          = local.buckets
  also_logged    = { for layer, name in local.public_buckets : "public_${layer}" => "arn:${data.aws_partition.current.partition}:s3:::${name}" }
  account_id     = data.aws_caller_identity.current.account_id
  force_destroy  = var.force_destroy
  kms_key_arn    = local.kms_key_arn
  lifecycle_days = var.lifecycle_days
}

module "s3_public" {
  source = "./modules/s3_public"

  names              = local.public_buckets
  access             = var.public_access
  write_acknowledged = var.public_write_acknowledged
  logs_bucket        = lookup(local.buckets, "logs", null)
  lifecycle_days     = var.lifecycle_days
  force_destroy      = var.force_destroy
  partition          = data.aws_partition.current.partition

  external_location = var.databricks == null ? null : {
    name          = local.name
    account_id    = data.aws_caller_identity.current.account_id
    external_id   = var.databricks.external_id
    principal_arn = var.databricks.principal_arn
  }
  permissions_boundary_arn = var.permissions_boundary_arn

  # Its access logs go to a bucket that must let them in first.
  depends_on = [module.s3]
}

module "iam" {
  source = "./modules/iam"

  name             = local.name
  entities         = { for entity, value in var.entities : entity => value.parents }
  gold_inputs      = sort(distinct(flatten([for mart in values(var.gold_marts) : mart.inputs])))
  buckets          = local.buckets
  public_buckets   = local.public_buckets
  databases        = local.databases
  log_group_prefix = local.log_group_prefix
  kms_key_arn      = local.kms_key_arn

  permissions_boundary_arn = var.permissions_boundary_arn
  erasure_policy           = var.erasure_policy
  publishing_policy        = var.publishing_policy
  scoring_group            = local.scoring_group

  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = var.region
}

module "glue" {
  source = "./modules/glue"

  name               = local.name
  entities           = { for entity, value in var.entities : entity => value.description }
  parents            = { for entity, value in var.entities : entity => value.parents }
  rulesets           = var.data_quality ? { for entity, value in var.entities : entity => { key = value.key, required = value.required } } : {}
  workflow           = var.workflow
  scoring_model      = local.scoring_group == null ? null : "sagemaker:${local.scoring_group}"
  auto_scaling       = var.auto_scaling
  gold_marts         = sort(keys(var.gold_marts))
  databases          = local.databases
  uris               = local.uris
  settings           = local.settings
  region             = var.region
  scripts_bucket     = module.s3.buckets.scripts
  script_path        = local.script
  wheel_path         = local.wheel
  constraints_path   = local.constraints
  pip_options        = var.pip_options
  role_arns          = module.iam.role_arns
  log_group_prefix   = local.log_group_prefix
  log_retention_days = var.log_retention_days
  kms_key_arn        = local.kms_key_arn
  worker_type        = var.worker_type
  number_of_workers  = var.number_of_workers
  timeout_minutes    = var.job_timeout_minutes
  max_retries        = var.job_max_retries
}

module "athena" {
  source = "./modules/athena"
  count  = var.athena ? 1 : 0

  name           = local.name
  databases      = module.glue.databases
  results_bucket = module.s3.buckets.athena
  scan_limit_gib = var.athena_scan_limit_gib
  kms_key_arn    = local.kms_key_arn
  force_destroy  = var.force_destroy
}

module "monitoring" {
  source = "./modules/monitoring"
  count  = var.monitoring ? 1 : 0

  name               = local.name
  account_id         = data.aws_caller_identity.current.account_id
  region             = var.region
  jobs               = module.glue.jobs
  log_groups         = module.glue.log_groups
  alarm_emails       = var.alarm_emails
  quarantine_percent = var.quarantine_percent
  freshness_hours    = var.freshness_hours
  kms_key_arn        = local.kms_key_arn
}

# --- what a stage may have besides ----------------------------------------------------------------

module "network" {
  source = "./modules/network"
  count  = var.network == null ? 0 : 1

  name             = local.name
  vpc_id           = var.network.vpc_id
  subnet_ids       = var.network.subnet_ids
  route_table_ids  = var.network.route_table_ids
  cidr_blocks      = var.network.cidr_blocks
  readable_buckets = var.network.readable_buckets
  buckets          = concat(values(local.buckets), values(local.public_buckets))
  account_id       = data.aws_caller_identity.current.account_id
  partition        = data.aws_partition.current.partition
  region           = var.region
}

module "lake_formation" {
  source = "./modules/lake_formation"
  count  = var.lake_formation == null ? 0 : 1

  name        = local.name
  databases   = module.glue.databases
  buckets     = module.s3.buckets
  tables      = local.personal
  tag_columns = var.lake_formation.tag_columns
  readers     = var.lake_formation.readers
  kms_key_arn = local.kms_key_arn
  account_id  = data.aws_caller_identity.current.account_id
  partition   = data.aws_partition.current.partition

  permissions_boundary_arn = var.permissions_boundary_arn
}

module "quicksight" {
  source = "./modules/quicksight"
  count  = var.quicksight == null ? 0 : 1

  name        = local.name
  account_id  = data.aws_caller_identity.current.account_id
  workgroup   = one(module.athena[*].workgroup)
  database    = module.glue.databases.gold
  marts       = var.gold_marts
  kpis        = var.kpis
  owner_arn   = var.quicksight.owner_arn
  reader_arns = var.quicksight.reader_arns
  refresh_at  = var.quicksight.refresh_at
}

module "sagemaker" {
  source = "./modules/sagemaker"
  count  = var.sagemaker == null ? 0 : 1

  name          = local.name
  buckets       = module.s3.buckets
  database      = module.glue.databases.gold
  workgroup     = one(module.athena[*].workgroup)
  code_path     = local.models
  image         = var.sagemaker.image
  instance_type = var.sagemaker.instance_type
  state_machine = var.sagemaker.state_machine
  kms_key_arn   = local.kms_key_arn
  account_id    = data.aws_caller_identity.current.account_id
  partition     = data.aws_partition.current.partition
  region        = var.region

  model_package_group      = local.model_group
  permissions_boundary_arn = var.permissions_boundary_arn
}
