variable "name" {
  description = "First part of every name: prefix and environment."
  type        = string
}

variable "account_id" {
  description = "AWS account id: only its alarms may reach the topic."
  type        = string
}

variable "region" {
  description = "AWS region, for the dashboard."
  type        = string
}

variable "jobs" {
  description = "Glue job names; each one's failures are told."
  type        = map(string)
}

variable "log_groups" {
  description = "Log groups of the jobs: silver-<entity>/output per entity and gold/output are read for metrics."
  type        = map(string)
}

variable "alarm_emails" {
  description = "Addresses that get the alarms; each one is asked to confirm."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "alarm_emails are e-mail addresses."
  }
}

variable "quarantine_percent" {
  description = "Percent of the rows of an entity within an hour that may go to quarantine before an alarm."
  type        = number
  default     = 5

  validation {
    condition     = var.quarantine_percent >= 0 && var.quarantine_percent < 100
    error_message = "quarantine_percent is at least 0 and below 100, or there could never be an alarm."
  }
}

variable "freshness_hours" {
  description = "Hours without a refresh of Gold before an alarm."
  type        = number
  default     = 26

  validation {
    condition     = var.freshness_hours >= 1 && var.freshness_hours <= 168
    error_message = "freshness_hours is 1 to 168: CloudWatch looks back a week at most."
  }
}

variable "kms_key_arn" {
  description = "Key for the topic; its policy must let CloudWatch and EventBridge use it. Null for none."
  type        = string
  default     = null
}
