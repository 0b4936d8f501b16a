variable "name" {
  description = "First part of names: prefix and environment."
  type        = string
}

variable "buckets" {
  description = "Bucket names: gold (read), athena (features go to training/), scripts (models go to models/)."
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
  default     = ["customer_360"]
}

variable "feature_query" {
  description = "SELECT on Gold: the label first, then the features, all numbers and none null; no braces. The default asks whether a borrower has missed an instalment."
  type        = string
  default     = <<-SQL
    SELECT
      CASE WHEN missed_payment_count > 0 THEN 1 ELSE 0 END,
      account_count,
      active_account_count,
      loan_count,
      transaction_count_90d,
      coalesce(CAST(outflow_90d AS double) / nullif(CAST(inflow_90d AS double), 0), 0),
      coalesce(CAST(outstanding_principal AS double) / nullif(CAST(total_balance AS double), 0), 0)
    FROM customer_360
    WHERE loan_count > 0
  SQL

  validation {
    condition     = startswith(upper(trimspace(var.feature_query)), "SELECT") && !can(regex("[{}]", var.feature_query))
    error_message = "feature_query is one SELECT without braces."
  }
}

variable "hyperparameters" {
  description = "XGBoost's settings, as texts."
  type        = map(string)
  default     = { objective = "binary:logistic", num_round = "100", max_depth = "4", eta = "0.2", eval_metric = "auc" }
}

variable "image" {
  description = "Training image in ECR; null takes AWS's own XGBoost 1.7 of the region."
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
