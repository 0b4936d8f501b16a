variable "name" {
  description = "First part of every role name: prefix and environment."
  type        = string
}

variable "entities" {
  description = "Parents by entity: the job of an entity may read the Silver tables of its parents, and of no other."
  type        = map(list(string))
}

variable "gold_inputs" {
  description = "Silver tables that the marts are built from: the Gold job may read these, and no other."
  type        = list(string)
}

variable "buckets" {
  description = "Bucket name by layer: bronze, silver, gold, scripts."
  type        = map(string)
}

variable "public_buckets" {
  description = "Names of the buckets with masked copies by layer (silver, gold); empty when there are none."
  type        = map(string)
  default     = {}
}

variable "databases" {
  description = "Glue database name by layer: bronze, silver, gold, quarantine, ops."
  type        = map(string)
}

variable "log_group_prefix" {
  description = "Start of the job log groups' names; the job's name follows."
  type        = string
}

variable "kms_key_arn" {
  description = "Key that encrypts the buckets; null when S3's own keys do."
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

variable "permissions_boundary_arn" {
  description = "Policy that bounds every role, as your platform team demands it. Null makes one that allows this stage's own buckets, databases, log groups and key."
  type        = string
  default     = null
}

variable "scoring_group" {
  description = "Model package group whose approved models the scoring job may read; null when there is no such job."
  type        = string
  default     = null
}

variable "erasure_policy" {
  description = "Whether to make a policy for the people who erase persons with `finlake forget`; it is attached to nobody."
  type        = bool
  default     = false
}

variable "publishing_policy" {
  description = "Whether to make a policy for the people who run `finlake publish`; it is attached to nobody."
  type        = bool
  default     = false
}
