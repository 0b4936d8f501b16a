variable "name" {
  description = "First part of names, and of the tag's key: prefix and environment."
  type        = string
}

variable "databases" {
  description = "Glue database name by layer: bronze, silver, gold, quarantine, ops."
  type        = map(string)
}

variable "buckets" {
  description = "Bucket name by layer; silver and gold are handed out to readers."
  type        = map(string)
}

variable "tables" {
  description = "Columns with personal data, by table as layer/name: column => class, as the contracts tell."
  type        = map(map(string))
}

variable "tag_columns" {
  description = "Whether to tag columns. The jobs make the tables, so this can only be true after the first run of the whole workflow."
  type        = bool
  default     = false
}

variable "readers" {
  description = "Who reads by tags: principal_arn of a role or user, and the PII classes that they may see; all else is hidden from them."
  type = map(object({
    principal_arn = string
    pii_classes   = optional(list(string), [])
  }))
  default = {}
}

variable "read_layers" {
  description = "Layers that readers may get at."
  type        = list(string)
  default     = ["silver", "gold"]

  validation {
    condition     = alltrue([for layer in var.read_layers : contains(["silver", "gold"], layer)])
    error_message = "Readers get silver and gold: other layers hold raw rows."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the buckets; null when S3's own keys do."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds the role; null for none."
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
