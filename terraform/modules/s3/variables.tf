variable "names" {
  description = "Bucket name by layer: bronze, silver, gold, scripts, athena; with logs, that one gets the access logs of the others."
  type        = map(string)

  validation {
    condition     = alltrue([for name in values(var.names) : length(name) >= 3 && length(name) <= 63])
    error_message = "A bucket name has 3 to 63 characters: shorten prefix or bucket_suffix."
  }
}

variable "force_destroy" {
  description = "Whether `destroy` may delete buckets that still hold data."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "Key for SSE-KMS with bucket keys; null for SSE-S3."
  type        = string
  default     = null
}

variable "lifecycle_days" {
  description = "Ages in days for the lifecycle rules; null for none. `results` are those of Athena and the event logs of Spark."
  type = object({
    incomplete_uploads = number
    noncurrent         = number
    bronze_ia          = number
    bronze_archive     = number
    access_logs        = optional(number, 365)
    results            = optional(number, 30)
  })
  default = null

  validation {
    # try(): Terraform evaluates both sides of a condition, and a null object has no attributes.
    condition     = try(var.lifecycle_days.bronze_ia >= 30 && var.lifecycle_days.bronze_archive >= var.lifecycle_days.bronze_ia + 30, var.lifecycle_days == null)
    error_message = "S3 moves objects to Standard-IA after 30 days at the earliest, and on to Glacier 30 days after that."
  }
}

variable "account_id" {
  description = "AWS account id: only its buckets may deliver access logs. Needed with a bucket for them."
  type        = string
  default     = null

  validation {
    condition     = !contains(keys(var.names), "logs") || var.account_id != null
    error_message = "A bucket for access logs needs account_id, so that no other account can write into it."
  }
}

variable "also_logged" {
  description = "ARNs, by layer, of buckets made elsewhere whose access logs come here as well."
  type        = map(string)
  default     = {}
}
