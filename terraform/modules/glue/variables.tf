variable "name" {
  description = "First part of job and crawler names: prefix and environment."
  type        = string
}

variable "entities" {
  description = "Description by entity; each gets a Silver job."
  type        = map(string)
}

variable "parents" {
  description = "Parents by entity: in the workflow, their jobs come first."
  type        = map(list(string))
  default     = {}
}

variable "rulesets" {
  description = "By Silver table, what Glue Data Quality shall find there: a key of these columns, and a value in each of those that are required. The tables must be there. Empty for none."
  type        = map(object({ key = list(string), required = list(string) }))
  default     = {}

  validation {
    condition     = alltrue([for rules in values(var.rulesets) : length(rules.key) > 0])
    error_message = "Each ruleset names the columns of a key."
  }
}

variable "workflow" {
  description = "Workflow of all jobs: schedule is a Glue cron expression in UTC, or null to start it by hand. Null makes no workflow."
  type        = object({ schedule = optional(string) })
  default     = null

  validation {
    condition     = var.workflow == null || can(regex("^cron\\([^ ]+( [^ ]+){5}\\)$", coalesce(try(var.workflow.schedule, null), "cron(0 3 * * ? *)")))
    error_message = "schedule has six fields in UTC: minutes, hours, day of month, month, day of week, year; for example \"cron(15 3 * * ? *)\"."
  }
}

variable "scoring_model" {
  description = "Model that a job scores loans by, as `finlake score --model` takes it: sagemaker:<group> for the newest approved version of a model package group. Null makes no such job."
  type        = string
  default     = null
}

variable "auto_scaling" {
  description = "Whether Glue takes only as many workers as a run needs, up to number_of_workers."
  type        = bool
  default     = true
}

variable "gold_marts" {
  description = "Gold tables, for the crawler."
  type        = list(string)
}

variable "databases" {
  description = "Glue database name by layer: bronze, silver, gold, quarantine, ops."
  type        = map(string)
}

variable "uris" {
  description = "S3 URI by layer, without a slash at the end."
  type        = map(string)
}

variable "settings" {
  description = "Settings (AWS_REGION, FINLAKE_*) that the jobs get as arguments."
  type        = map(string)
}

variable "region" {
  description = "AWS region of the buckets."
  type        = string
}

variable "scripts_bucket" {
  description = "Bucket for the job script and the wheel."
  type        = string
}

variable "script_path" {
  description = "Local path of the script that every job starts."
  type        = string
}

variable "wheel_path" {
  description = "Local path of the wheel with the project's code."
  type        = string

  validation {
    condition     = var.wheel_path != null
    error_message = "There is not exactly one wheel in dist/. Build it with `python -m build --wheel` (remove older ones), or name one with wheel_path."
  }
}

variable "constraints_path" {
  description = "Local path of the pip constraints file that pins what the jobs install."
  type        = string
}

variable "pip_options" {
  description = "Options of pip, as it installs what the jobs need; for example --index-url and the address of an index of your own. Null for none: the public one."
  type        = string
  default     = null
}

variable "role_arns" {
  description = "Role ARNs: silver-<entity> per entity, gold, maintenance, scoring with scoring_model, and crawler."
  type        = map(string)
}

variable "log_group_prefix" {
  description = "Start of the job log groups' names; the job's name follows."
  type        = string
}

variable "log_retention_days" {
  description = "Days that job logs are kept."
  type        = number
}

variable "kms_key_arn" {
  description = "Key for the log groups; null for CloudWatch's own encryption. Its key policy must let CloudWatch Logs use it."
  type        = string
  default     = null
}

variable "glue_version" {
  description = "AWS Glue version: 5.1 is Spark 3.5.6, Delta 3.3.2, Python 3.11."
  type        = string
  default     = "5.1"
}

variable "worker_type" {
  description = "Size of a worker."
  type        = string
}

variable "number_of_workers" {
  description = "Workers per run, the driver included."
  type        = number
}

variable "timeout_minutes" {
  description = "Minutes after which a run is stopped."
  type        = number
}

variable "max_retries" {
  description = "How often a failed run is started again."
  type        = number
}
