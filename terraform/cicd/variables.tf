variable "environment" {
  description = "Stage that is delivered to, as in terraform/envs."
  type        = string
}

variable "prefix" {
  description = "First part of the stage's names."
  type        = string
  default     = "finlake"
}

variable "region" {
  description = "AWS region of the stage."
  type        = string
  default     = "eu-central-1"
}

variable "state_bucket" {
  description = "Bucket of Terraform's state, as terraform/bootstrap makes it."
  type        = string
}

variable "kms_key_arns" {
  description = "Keys of the stage and of the state, where there are any."
  type        = list(string)
  default     = []
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds the roles which a delivery makes; null for the stage's own."
  type        = string
  default     = null
}

variable "github" {
  description = "For GitHub Actions: repository as owner/name, branch that may plan, provider_arn where the account knows GitHub already."
  type = object({
    repository   = string
    branch       = optional(string, "main")
    provider_arn = optional(string)
  })
  default = null
}

variable "pipeline" {
  description = "For CodePipeline: repository as owner/name, branch, connection_arn, approval_topic_arn, image, kms_key_arn."
  type = object({
    repository         = string
    branch             = optional(string, "main")
    connection_arn     = optional(string)
    approval_topic_arn = optional(string)
    image              = optional(string, "aws/codebuild/amazonlinux-x86_64-standard:5.0")
    kms_key_arn        = optional(string)
  })
  default = null
}
