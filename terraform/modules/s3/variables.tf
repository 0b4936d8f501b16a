variable "names" {
  description = "Bucket name by layer: bronze, silver, gold, scripts."
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
  description = "Ages in days for the lifecycle rules; null for none."
  type = object({
    incomplete_uploads = number
    noncurrent         = number
    bronze_ia          = number
    bronze_archive     = number
  })
  default = null

  validation {
    # try(): Terraform evaluates both sides of a condition, and a null object has no attributes.
    condition     = try(var.lifecycle_days.bronze_ia >= 30 && var.lifecycle_days.bronze_archive >= var.lifecycle_days.bronze_ia + 30, var.lifecycle_days == null)
    error_message = "S3 moves objects to Standard-IA after 30 days at the earliest, and on to Glacier 30 days after that."
  }
}
