variable "name" {
  description = "First part of names: prefix and environment."
  type        = string
}

variable "model_package_group" {
  description = "Name of the group that models are registered in."
  type        = string
}

variable "buckets" {
  description = "Bucket names: gold (read), athena (features go to training/), scripts (code goes to ml/, models to models/)."
  type        = map(string)
}

variable "database" {
  description = "Glue database of the Gold tables."
  type        = string
}

variable "workgroup" {
  description = "Athena workgroup that selects the features."
  type        = string
}

variable "feature_tables" {
  description = "Gold tables that feature_query reads."
  type        = list(string)
  default     = ["loan_default_features"]
}

variable "feature_query" {
  description = "SELECT on Gold that gives the columns which the script's model needs; no braces. The default is what the model of default needs."
  type        = string
  default     = <<-SQL
    SELECT
      loan_id,
      observation_date,
      customer_id,
      default_within_12_months,
      annual_rate,
      term_months,
      months_on_book,
      months_left,
      repaid_share,
      loan_to_value,
      loan_to_income,
      installment_to_income,
      overdue_installments,
      days_past_due,
      worst_days_past_due_12m,
      worst_days_past_due,
      late_installments_12m,
      has_repaid_extra,
      credit_score,
      product,
      repayment_type,
      collateral_type,
      credit_band,
      segment,
      country
    FROM loan_default_features
    WHERE default_within_12_months IS NOT NULL
  SQL

  validation {
    condition     = startswith(upper(trimspace(var.feature_query)), "SELECT") && !can(regex("[{}]", var.feature_query))
    error_message = "feature_query is one SELECT without braces."
  }
}

variable "code_path" {
  description = "Folder of the package whose train.py trains: the repository's ml/."
  type        = string

  validation {
    condition     = fileexists("${var.code_path}/train.py")
    error_message = "code_path is the folder that holds train.py."
  }
}

variable "hyperparameters" {
  description = "Arguments of the script, by their names without dashes in front, as texts; see ml/train.py --help."
  type        = map(string)
  default     = { model = "default" }
}

variable "image" {
  description = "Training image in ECR; null takes AWS's own scikit-learn 1.2-1 of the region."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.[a-z.]+/[^:@]+[:@].+$", coalesce(var.image, "-")))
    error_message = "image is one in ECR, with a tag: <account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag>."
  }
}

variable "instance_type" {
  description = "Machine that trains."
  type        = string
  default     = "ml.m5.large"
}

variable "volume_gib" {
  description = "GiB of disk for features and model."
  type        = number
  default     = 20
}

variable "timeout_minutes" {
  description = "Minutes after which training is stopped."
  type        = number
  default     = 60
}

variable "state_machine" {
  description = "Whether to make the state machine; without it there are the roles and the registry, for a way of training of your own."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Key that encrypts the buckets; null when S3's own keys do."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds the roles; null for none."
  type        = string
  default     = null
}

variable "account_id" {
  description = "AWS account id."
  type        = string
}

variable "partition" {
  description = "AWS partition, for ARNs."
  type        = string
  default     = "aws"
}

variable "region" {
  description = "AWS region."
  type        = string
}
