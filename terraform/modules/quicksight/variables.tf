variable "name" {
  description = "Name of the data source, and first part of the datasets' ids: prefix and environment."
  type        = string
}

variable "account_id" {
  description = "AWS account id; it must have signed up for QuickSight."
  type        = string
}

variable "workgroup" {
  description = "Athena workgroup that the queries run in."
  type        = string
}

variable "database" {
  description = "Glue database of the Gold tables."
  type        = string
}

variable "marts" {
  description = "Gold tables and their columns in order; those with a class of personal data are left out. Of a mart with shown_where, only rows in which that column is above zero are imported."
  type = map(object({
    columns     = list(object({ name = string, type = string, pii = optional(string) }))
    shown_where = optional(string)
  }))

  validation {
    condition     = alltrue(flatten([for mart in values(var.marts) : [for column in mart.columns : contains(["bigint", "boolean", "date", "decimal", "double", "int", "string", "timestamp"], split("(", column.type)[0])]]))
    error_message = "QuickSight knows no such column type; local.types in this module tells what becomes of each."
  }
}

variable "kpis" {
  description = "Key figures by name: title, mart, QuickSight expression, unit (money, fraction or count), owner (who asks for it, and so its sheet), and the column along the chart's axis with its type. Every mart has a column currency. With none, there is no analysis."
  type = map(object({
    title      = string
    mart       = string
    expression = string
    unit       = string
    owner      = string
    by         = object({ column = string, type = string })
  }))
  default = {}

  validation {
    condition     = alltrue([for kpi in values(var.kpis) : contains(keys(var.marts), kpi.mart)])
    error_message = "A key figure is of a mart that is not among marts."
  }

  validation {
    condition     = alltrue([for kpi in values(var.kpis) : contains(["money", "fraction", "count"], kpi.unit)])
    error_message = "The unit of a key figure is money, fraction or count."
  }
}

variable "owner_arn" {
  description = "QuickSight user or group that owns source, datasets and analysis."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:quicksight:[a-z0-9-]+:[0-9]{12}:(user|group)/.+$", var.owner_arn))
    error_message = "owner_arn is the ARN of a QuickSight user or group (arn:aws:quicksight:<region>:<account>:group/default/<name>)."
  }
}

variable "reader_arns" {
  description = "QuickSight users and groups that may build dashboards on the datasets."
  type        = list(string)
  default     = []
}

variable "refresh_at" {
  description = "Time of the daily refresh as HH:MM in UTC, some time after the workflow; null for none."
  type        = string
  default     = "06:00"

  validation {
    condition     = var.refresh_at == null || can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", coalesce(var.refresh_at, "-")))
    error_message = "refresh_at is a time as HH:MM, such as 06:00."
  }
}
