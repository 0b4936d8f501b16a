# Who delivers to a stage on AWS. A configuration of its own, with a state of its own, applied by a person: so no
# delivery can change the rights of deliveries.
module "cicd" {
  source = "../modules/cicd"

  name         = "${var.prefix}-${var.environment}"
  environment  = var.environment
  account_id   = data.aws_caller_identity.current.account_id
  partition    = data.aws_partition.current.partition
  region       = var.region
  state_bucket = var.state_bucket
  kms_key_arns = var.kms_key_arns
  github       = var.github
  pipeline     = var.pipeline

  permissions_boundary_arn = coalesce(
    var.permissions_boundary_arn,
    "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:policy/${var.prefix}-${var.environment}-boundary",
  )
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
