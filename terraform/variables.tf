variable "environment" {
  description = "Stage, such as local, dev or prod. It is a part of every name, so stages can share an account."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,15}$", var.environment))
    error_message = "environment must be at most 16 lower case letters and digits, and start with a letter."
  }
}

variable "prefix" {
  description = "First part of every name. Dashes become underscores in the names of Glue databases."
  type        = string
  default     = "finlake"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,20}$", var.prefix))
    error_message = "prefix must be at most 21 lower case letters, digits and dashes, and start with a letter."
  }
}

variable "bucket_suffix" {
  description = "Last part of every bucket name, for example the account id: bucket names are unique across all AWS accounts. Empty for none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?)?$", var.bucket_suffix))
    error_message = "bucket_suffix must be at most 20 lower case letters, digits and inner dashes."
  }
}

variable "region" {
  description = "AWS region of everything."
  type        = string
  default     = "eu-central-1"
}

variable "account_id" {
  description = "AWS account of the stage; with credentials of another one, nothing is done. Null for no such check."
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null || can(regex("^[0-9]{12}$", coalesce(var.account_id, "-")))
    error_message = "account_id has 12 digits, in quotes."
  }
}

variable "tags" {
  description = "More tags for every resource, for example a cost centre."
  type        = map(string)
  default     = {}
}

variable "entities" {
  description = "Entities with a Silver job: description, the parents whose Silver tables the job reads, whether all versions are kept in a history table, the class of each column with personal data, the key, and the columns that must have a value. Written from the contracts by `finlake infra sync` into contracts.auto.tfvars.json."
  type = map(object({
    description = string
    parents     = list(string)
    history     = optional(bool, false)
    pii         = optional(map(string), {})
    key         = optional(list(string), [])
    required    = optional(list(string), [])
  }))

  validation {
    condition     = length(var.entities) > 0
    error_message = "There is no entity. Run `finlake infra sync` to write contracts.auto.tfvars.json from the contracts."
  }

  validation {
    condition     = alltrue([for entity in values(var.entities) : alltrue([for parent in entity.parents : contains(keys(var.entities), parent)])])
    error_message = "Every parent must be an entity itself."
  }
}

variable "gold_marts" {
  description = "Gold tables, each a folder of the Gold bucket, their columns in order, the Silver tables that they read, and a column that is above zero in the rows that QuickSight shows, if not all. Written by `finlake infra sync` as well."
  type = map(object({
    inputs      = optional(list(string), [])
    columns     = list(object({ name = string, type = string, pii = optional(string) }))
    shown_where = optional(string)
  }))
}

variable "kpis" {
  description = "Key figures of the Gold tables, as QuickSight writes them. Written by `finlake infra sync` as well."
  type = map(object({
    title      = string
    mart       = string
    expression = string
    unit       = string
    owner      = string
    by         = object({ column = string, type = string })
  }))
  default = {}
}

variable "force_destroy" {
  description = "Whether `destroy` may delete buckets that still hold data. Only for throw-away stages."
  type        = bool
  default     = false
}

variable "create_kms_key" {
  description = "Whether to make a KMS key for all buckets, log groups, query results and alarms, with a policy that fits."
  type        = bool
  default     = false

  validation {
    condition     = !(var.create_kms_key && var.kms_key_arn != null)
    error_message = "Either name a key with kms_key_arn, or let one be made with create_kms_key."
  }
}

variable "kms_key_arn" {
  description = "KMS key of your own for the same; its policy must let the job roles, CloudWatch Logs, CloudWatch and EventBridge use it. Without a key, S3's own keys are used (SSE-S3); emulators need that, as S3A's copies stall with SSE-KMS there."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-zA-Z-]+$", coalesce(var.kms_key_arn, "-")))
    error_message = "kms_key_arn is the ARN of a key (arn:aws:kms:<region>:<account>:key/<id>), not of an alias."
  }
}

variable "athena" {
  description = "Whether to make an Athena workgroup with a result location, encryption and a scan limit of its own."
  type        = bool
  default     = true
}

variable "athena_scan_limit_gib" {
  description = "GiB that one Athena query may scan before it is ended."
  type        = number
  default     = 100
}

variable "monitoring" {
  description = "Whether to make alarms on failed jobs, quarantine and freshness, their topic, and a dashboard."
  type        = bool
  default     = true
}

variable "alarm_emails" {
  description = "Addresses that get the alarms; each one is asked to confirm."
  type        = list(string)
  default     = []
}

variable "quarantine_percent" {
  description = "Percent of an entity's rows within an hour that may go to quarantine before an alarm."
  type        = number
  default     = 5
}

variable "freshness_hours" {
  description = "Hours without a refresh of Gold before an alarm."
  type        = number
  default     = 26
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds every role, as your platform team demands it. Null makes one of the stage's own."
  type        = string
  default     = null
}

variable "erasure_policy" {
  description = "Whether to make a policy for the people who erase persons with `finlake forget`; attach it to their role."
  type        = bool
  default     = false
}

variable "publishing_policy" {
  description = "Whether to make a policy for the people who run `finlake publish`; it is attached to nobody. It needs public_access or databricks."
  type        = bool
  default     = false
}

variable "access_logs" {
  description = "Whether a bucket gets the access logs of the others."
  type        = bool
  default     = true
}

variable "lifecycle_days" {
  description = "Ages in days: abort incomplete uploads, expire noncurrent versions, move Bronze to Standard-IA and on to Glacier Instant Retrieval, expire access logs, expire query results and Spark's event logs. Null sets no lifecycle at all (local: the provider waits almost a minute per apply for it)."
  type = object({
    incomplete_uploads = number
    noncurrent         = number
    bronze_ia          = number
    bronze_archive     = number
    access_logs        = optional(number, 365)
    results            = optional(number, 30)
  })
  default = null
}

variable "public_access" {
  description = "What anyone on the internet may do with the masked copies of Silver and Gold: none (no such buckets exist), read, or read_write."
  type        = string
  default     = "none"
}

variable "public_write_acknowledged" {
  description = "Must be true for public_access = \"read_write\": anyone could then change, delete or upload data at your cost."
  type        = bool
  default     = false
}

variable "worker_type" {
  description = "Size of a Glue worker."
  type        = string
  default     = "G.1X"
}

variable "number_of_workers" {
  description = "Workers per job run, the driver included."
  type        = number
  default     = 2

  validation {
    condition     = var.number_of_workers >= 2
    error_message = "A Glue Spark job needs at least 2 workers: the driver and one executor."
  }
}

variable "auto_scaling" {
  description = "Whether Glue takes only as many workers as a run needs, up to number_of_workers."
  type        = bool
  default     = true
}

variable "workflow" {
  description = "Workflow that runs all jobs in order: schedule is a Glue cron expression in UTC, or null to start it by hand. Null makes no workflow."
  type        = object({ schedule = optional(string) })
  default     = null
}

variable "job_timeout_minutes" {
  description = "Minutes after which a job run is stopped."
  type        = number
  default     = 60
}

variable "job_max_retries" {
  description = "How often Glue starts a failed run again. Safe, as a second run only does what the first left."
  type        = number
  default     = 1
}

variable "log_retention_days" {
  description = "Days that job logs are kept."
  type        = number
  default     = 30
}

variable "script_path" {
  description = "The script that every Glue job starts. Null takes pipeline/glue_job.py of this repository."
  type        = string
  default     = null
}

variable "wheel_path" {
  description = "The wheel with the project's code. Null takes the one in dist/ of this repository."
  type        = string
  default     = null
}

variable "constraints_path" {
  description = "The pip constraints file that pins what the jobs install. Null takes constraints.txt of this repository."
  type        = string
  default     = null
}

variable "pip_options" {
  description = "Options of pip in the jobs; for example --index-url and the address of an index of your own. Null for none: the public one."
  type        = string
  default     = null
}

variable "models_path" {
  description = "The folder with the code that SageMaker trains by. Null takes ml/ of this repository."
  type        = string
  default     = null
}

# --- what a stage may have besides; all off -------------------------------------------------------

variable "data_quality" {
  description = "Whether to make a ruleset for Glue Data Quality of each Silver table, from its contract. The tables must be there, so not before the first run of the jobs, which check every row by rules of their own."
  type        = bool
  default     = false
}

variable "databricks" {
  description = "For a Databricks workspace that reads the masked copies through a role, while nothing is public: external_id (which Unity Catalog shows for the storage credential), and principal_arn where it is not Unity Catalog's own role. Null for none."
  type = object({
    external_id   = string
    principal_arn = optional(string, "arn:aws:iam::414351767826:role/unity-catalog-prod-UCMasterRole-14S5ZJVKOTYTL")
  })
  default = null
}

variable "network" {
  description = "Endpoints for S3, Glue and Logs in a network of yours: its id, subnets, the route tables of the private ones, and the addresses that may use them. Null for none."
  type = object({
    vpc_id           = string
    subnet_ids       = list(string)
    route_table_ids  = list(string)
    cidr_blocks      = list(string)
    readable_buckets = optional(list(string), [])
  })
  default = null
}

variable "lake_formation" {
  description = "Tags for personal data: tag_columns (true once the jobs have made the tables), and readers with the classes that they may see. Null for none."
  type = object({
    tag_columns = optional(bool, false)
    readers = optional(map(object({
      principal_arn = string
      pii_classes   = optional(list(string), [])
    })), {})
  })
  default = null
}

variable "quicksight" {
  description = "Datasets of the Gold tables and an analysis of their key figures: owner_arn and reader_arns (QuickSight users or groups), and the time of the daily refresh. Null for none."
  type = object({
    owner_arn   = string
    reader_arns = optional(list(string), [])
    refresh_at  = optional(string, "06:00")
  })
  default = null

  validation {
    condition     = var.quicksight == null || var.athena
    error_message = "QuickSight asks Athena: it needs athena = true."
  }
}

variable "sagemaker" {
  description = "Training on Gold: image and machine, whether a state machine runs it, and whether a job scores loans each time by the newest approved model (it fails while none is). Null for none; {} for the defaults."
  type = object({
    image         = optional(string)
    instance_type = optional(string, "ml.m5.large")
    state_machine = optional(bool, true)
    scoring       = optional(bool, false)
  })
  default = null

  validation {
    condition     = var.sagemaker == null || var.athena
    error_message = "Training gets its features from Athena: it needs athena = true."
  }
}
