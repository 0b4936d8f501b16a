variable "name" {
  description = "Name of the key's alias: prefix and environment."
  type        = string
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

variable "log_group_prefix" {
  description = "Start of the job log groups' names: CloudWatch Logs may use the key for these groups only."
  type        = string
}

variable "deletion_window_days" {
  description = "Days between the deletion of the key and its end; until then it can be brought back, and with it the data."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "KMS waits 7 to 30 days before it deletes a key."
  }
}
