variable "name" {
  description = "Name of the workgroup: prefix and environment."
  type        = string
}

variable "databases" {
  description = "Glue database name by layer; the named queries use ops and gold."
  type        = map(string)
}

variable "results_bucket" {
  description = "Bucket for the results of queries."
  type        = string
}

variable "scan_limit_gib" {
  description = "GiB that one query may scan before Athena ends it."
  type        = number
  default     = 100

  validation {
    # Athena's own minimum is 10 MB.
    condition     = var.scan_limit_gib >= 1 && floor(var.scan_limit_gib) == var.scan_limit_gib
    error_message = "scan_limit_gib is a whole number of GiB, 1 or more."
  }
}

variable "kms_key_arn" {
  description = "Key for the results; null for SSE-S3."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Whether `destroy` may delete a workgroup that holds queries of others."
  type        = bool
  default     = false
}
