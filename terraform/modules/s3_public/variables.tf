variable "names" {
  description = "Bucket name by layer (silver, gold). Only masked copies belong there, never the tables themselves."
  type        = map(string)
}

variable "access" {
  description = "What anyone on the internet may do: none (creates nothing), read, or read_write."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "read", "read_write"], var.access)
    error_message = "public_access must be none, read or read_write."
  }

  validation {
    condition     = var.access != "read_write" || var.write_acknowledged
    error_message = "With public_access = \"read_write\" anyone on the internet can change, delete and upload data at your cost. Use \"read\"; or, if that is what you want, set public_write_acknowledged = true as well."
  }
}

variable "write_acknowledged" {
  description = "Says that public writing is meant."
  type        = bool
  default     = false
}

variable "force_destroy" {
  description = "Whether `destroy` may delete buckets that still hold data."
  type        = bool
  default     = false
}

variable "partition" {
  description = "AWS partition, for ARNs."
  type        = string
  default     = "aws"
}

variable "logs_bucket" {
  description = "Bucket that gets the access logs; null for none."
  type        = string
  default     = null
}

variable "lifecycle_days" {
  description = "Ages in days: abort incomplete uploads, expire noncurrent versions. Null for no rules."
  type        = object({ incomplete_uploads = number, noncurrent = number })
  default     = null
}

variable "external_location" {
  description = "For a role with which a Databricks workspace reads the copies while nothing is public: name (prefix and environment), account_id (yours), external_id (which Unity Catalog shows), principal_arn (who takes the role on; the default is Unity Catalog's own role). Null for no such role."
  type = object({
    name          = string
    account_id    = string
    external_id   = string
    principal_arn = optional(string, "arn:aws:iam::414351767826:role/unity-catalog-prod-UCMasterRole-14S5ZJVKOTYTL")
  })
  default = null

  validation {
    condition     = try(length(var.external_location.external_id) >= 2, var.external_location == null)
    error_message = "external_id is the one that Unity Catalog shows for the storage credential; it keeps other workspaces out."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds the role; null for none."
  type        = string
  default     = null
}
