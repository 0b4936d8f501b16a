variable "name" {
  description = "Prefix and environment of the stage that is delivered to, such as finlake-prod."
  type        = string
}

variable "environment" {
  description = "The stage: its file in terraform/envs, its Terraform workspace, and its environment at GitHub."
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
  description = "AWS region of the stage."
  type        = string
}

variable "state_bucket" {
  description = "Bucket of Terraform's state, as terraform/bootstrap makes it."
  type        = string
}

variable "state_key" {
  description = "Key of the state in that bucket; workspaces come before it."
  type        = string
  default     = "finlake/terraform.tfstate"
}

variable "state_region" {
  description = "Region of that bucket; null for the stage's."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds every role which a delivery makes or changes: the stage's own (<name>-boundary), or your platform team's."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is the ARN of a policy; without it, a delivery could give itself any right."
  }
}

variable "kms_key_arns" {
  description = "Keys of the stage and of the state, where there are any."
  type        = list(string)
  default     = []
}

variable "github" {
  description = "Lets workflows of a GitHub repository take on the roles: repository as owner/name, the branch that may plan, and provider_arn where the account knows GitHub already. Null for none."
  type = object({
    repository   = string
    branch       = optional(string, "main")
    provider_arn = optional(string)
  })
  default = null

  validation {
    # A wildcard here would let strangers in.
    condition     = var.github == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", try(var.github.repository, "-")))
    error_message = "repository is one repository, as owner/name, without wildcards."
  }
}

variable "pipeline" {
  description = "Makes a CodePipeline: repository as owner/name, its branch, connection_arn (null makes a connection, which a person confirms in the console), approval_topic_arn (who is asked to approve), image of CodeBuild, and a key for artifacts and logs. Null for none."
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

variable "terraform_version" {
  description = "Terraform that the pipeline installs."
  type        = string
  default     = "1.11.4"
}

variable "log_retention_days" {
  description = "Days that the pipeline's logs are kept."
  type        = number
  default     = 365
}
