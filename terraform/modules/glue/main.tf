locals {
  jobs = merge(
    {
      for entity, description in var.entities : "silver-${entity}" => {
        description = "Bronze to Silver: ${description}"
        arguments   = { "--layer" = "silver", "--entity" = entity }
      }
    },
    {
      gold = {
        description = "Silver to Gold: ${join(", ", var.gold_marts)}"
        arguments   = { "--layer" = "gold" }
      }
      maintenance = {
        description = "Merges small files, deletes old ones and shortens logs, of all tables"
        arguments   = { "--layer" = "maintenance" }
      }
    },
    # It needs no Spark, but Glue's jobs of plain Python end at Python 3.9, and Spark's jobs have all that it imports.
    var.scoring_model == null ? {} : {
      scoring = {
        description = "Scores performing loans, of the newest day that Gold has features of"
        arguments   = { "--layer" = "scoring", "--model" = var.scoring_model }
      }
    },
  )

  # All that the wheel needs beyond Glue's own libraries, and what that needs in turn, at the versions the project is
  # tested with: so no job ever gets a library that was released since. Three of them Glue brings in other versions.
  modules = [
    "annotated-doc",
    "annotated-types",
    "arro3-core",
    "charset-normalizer",
    "deltalake",
    "Deprecated",
    "Faker",
    "Jinja2",
    "markdown-it-py",
    "MarkupSafe",
    "mdurl",
    "obstore",
    "open-data-contract-standard",
    "polars",
    "polars-runtime-32",
    "pydantic",
    "pydantic-settings",
    "pydantic_core",
    "python-dotenv",
    "PyYAML",
    "rich",
    "shellingham",
    "tenacity",
    "typer",
    "typing-inspection",
    "typing_extensions",
  ]
  pins = {
    for pin in regexall("(?m)^([A-Za-z0-9_.-]+)==([^\\s;]+)", file(var.constraints_path)) : pin[0] => "${pin[0]}==${pin[1]}"
  }

  wheel_uri = "s3://${var.scripts_bucket}/${aws_s3_object.wheel.key}"

  arguments = merge(
    { for name, value in var.settings : "--${name}" => value },
    {
      "--job-language"     = "python"
      "--datalake-formats" = "delta"
      "--conf" = join(" --conf ", [
        "spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog",
        # Since Glue 5.1, S3 is reached by S3A, which takes us-east-2 for the region where none is named: uploads
        # then end in timeouts, above all within a VPC (AWS: "Migrating AWS Glue for Spark jobs to AWS Glue version 5.1").
        "spark.hadoop.fs.s3a.endpoint.region=${var.region}",
      ])
      "--additional-python-modules"        = join(",", concat([local.wheel_uri], [for module in local.modules : local.pins[module]]))
      "--enable-metrics"                   = "true"
      "--enable-continuous-cloudwatch-log" = "true" # from Glue 5 on it is so anyway
      "--enable-observability-metrics"     = "true"
      "--enable-spark-ui"                  = "true"
      # number_of_workers is then the most that a run may have; it starts with fewer and is billed for those it has.
      "--enable-auto-scaling" = tostring(var.auto_scaling)
      # Glue's bookmarks are off: the pipeline keeps its own ledger of finished files, in the same
      # transaction log as the data, and it works on a laptop too.
      "--job-bookmark-option" = "job-bookmark-disable"
    },
    var.pip_options == null ? {} : { "--python-modules-installer-option" = var.pip_options },
  )

  # By job: the jobs that must have succeeded before it.
  after = merge(
    { for entity, parents in var.parents : "silver-${entity}" => [for parent in sort(parents) : "silver-${parent}"] if length(parents) > 0 },
    {
      gold        = [for entity in sort(keys(var.entities)) : "silver-${entity}"]
      maintenance = ["gold"]
    },
    # Last, as it takes Gold's lock, and so that nothing waits for it should no model be approved.
    var.scoring_model == null ? {} : { scoring = ["maintenance"] },
  )

  log_groups = merge([
    for job in keys(local.jobs) : { for stream in ["error", "output"] : "${job}/${stream}" => "${var.log_group_prefix}-${job}/${stream}" }
  ]...)
}

# Each state of the code has a key of its own, made from its bytes, so that a job that runs keeps the code it
# began with, and `finlake deploy` can go back. It makes the same keys.
resource "aws_s3_object" "script" {
  bucket      = var.scripts_bucket
  key         = "jobs/${substr(filesha256(var.script_path), 0, 16)}/${basename(var.script_path)}"
  source      = var.script_path
  source_hash = filemd5(var.script_path)
}

resource "aws_s3_object" "wheel" {
  bucket      = var.scripts_bucket
  key         = "wheels/${substr(filesha256(var.wheel_path), 0, 16)}/${basename(var.wheel_path)}"
  source      = var.wheel_path
  source_hash = filemd5(var.wheel_path)
}

resource "aws_glue_catalog_database" "this" {
  for_each = var.databases

  name         = each.value
  location_uri = "${var.uris[each.key]}/"
  description = {
    bronze     = "Raw CSV files as they arrived, every value a string."
    silver     = "Cleaned, deduplicated, current rows of each entity (Delta)."
    gold       = "Marts for reporting (Delta)."
    quarantine = "Rows that broke a rule, with their reasons (Delta)."
    ops        = "The pipeline's ledger: files, runs, accounting (Delta)."
  }[each.key]
}

resource "aws_cloudwatch_log_group" "job" {
  for_each = local.log_groups

  name              = each.value
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_glue_job" "this" {
  for_each = local.jobs

  name              = "${var.name}-${each.key}"
  description       = each.value.description
  role_arn          = var.role_arns[each.key]
  glue_version      = var.glue_version
  worker_type       = var.worker_type
  number_of_workers = var.number_of_workers
  timeout           = var.timeout_minutes
  max_retries       = var.max_retries

  security_configuration = one(aws_glue_security_configuration.this[*].name)

  command {
    name            = "glueetl"
    python_version  = "3"
    script_location = "s3://${var.scripts_bucket}/${aws_s3_object.script.key}"
  }

  # On S3, one driver at a time writes a Delta table.
  execution_property {
    max_concurrent_runs = 1
  }

  default_arguments = merge(local.arguments, each.value.arguments, {
    "--custom-logGroup-prefix" = "${var.log_group_prefix}-${each.key}"
    "--spark-event-logs-path"  = "s3://${var.scripts_bucket}/spark-ui/${each.key}/"
  })

  depends_on = [aws_cloudwatch_log_group.job]
}

# Glue's own scratch data and bookmarks. The log groups above have the key themselves: with encryption from
# here, Glue would write into groups of other names, which have no retention and which no role may write.
resource "aws_glue_security_configuration" "this" {
  #checkov:skip=CKV_AWS_99:See above: log groups are encrypted with the key themselves, everything else is here.
  count = var.kms_key_arn == null ? 0 : 1

  name = var.name

  encryption_configuration {
    cloudwatch_encryption {
      cloudwatch_encryption_mode = "DISABLED"
    }

    job_bookmarks_encryption {
      job_bookmarks_encryption_mode = "CSE-KMS"
      kms_key_arn                   = var.kms_key_arn
    }

    s3_encryption {
      s3_encryption_mode = "SSE-KMS"
      kms_key_arn        = var.kms_key_arn
    }
  }
}

resource "aws_glue_workflow" "this" {
  count = var.workflow == null ? 0 : 1

  name                = var.name
  description         = "Silver jobs, parents first; then Gold; then maintenance${var.scoring_model == null ? "" : "; then scoring"}."
  max_concurrent_runs = 1
}

# Entities without parents begin: by the clock, or when somebody starts the workflow.
resource "aws_glue_trigger" "start" {
  count = var.workflow == null ? 0 : 1

  name              = "${var.name}-start"
  description       = "Starts the Silver jobs of entities without parents."
  workflow_name     = aws_glue_workflow.this[0].name
  type              = var.workflow.schedule == null ? "ON_DEMAND" : "SCHEDULED"
  schedule          = var.workflow.schedule
  start_on_creation = var.workflow.schedule == null ? null : true

  # With true, its default, Terraform would fire a trigger on demand as soon as it has made it.
  enabled = var.workflow.schedule != null

  dynamic "actions" {
    for_each = [for entity in sort(keys(var.entities)) : entity if length(lookup(var.parents, entity, [])) == 0]

    content {
      job_name = aws_glue_job.this["silver-${actions.value}"].name
    }
  }
}

resource "aws_glue_trigger" "after" {
  for_each = var.workflow == null ? {} : local.after

  name              = "${var.name}-${each.key}"
  description       = "Starts ${each.key} when ${join(", ", each.value)} succeeded."
  workflow_name     = aws_glue_workflow.this[0].name
  type              = "CONDITIONAL"
  start_on_creation = true

  actions {
    job_name = aws_glue_job.this[each.key].name
  }

  predicate {
    logical = "AND"

    dynamic "conditions" {
      for_each = each.value

      content {
        job_name         = aws_glue_job.this[conditions.value].name
        logical_operator = "EQUALS"
        state            = "SUCCEEDED"
      }
    }
  }
}

# For who wants to see Glue's own scores; runs are started by them, with a role of theirs.
resource "aws_glue_data_quality_ruleset" "silver" {
  for_each = var.rulesets

  name        = "${var.name}-${each.key}"
  description = "Key and required columns of ${each.key}, as its contract has them."
  ruleset = format("Rules = [ %s ]", join(", ", concat(
    [format("IsPrimaryKey %s", join(" ", [for column in each.value.key : "\"${column}\""]))],
    [for column in each.value.required : "IsComplete \"${column}\""],
  )))

  target_table {
    database_name = aws_glue_catalog_database.this["silver"].name
    table_name    = each.key
  }
}

resource "aws_glue_classifier" "csv" {
  name = "${var.name}-csv"

  csv_classifier {
    contains_header        = "PRESENT"
    delimiter              = ","
    quote_symbol           = "\""
    disable_value_trimming = true
    allow_single_column    = false
    serde                  = "OpenCSVSerDe"
  }
}

resource "aws_glue_crawler" "bronze" {
  name          = "${var.name}-bronze"
  description   = "Registers Bronze CSV files, one table per entity, partitioned by ingest_date."
  role          = var.role_arns.crawler
  database_name = aws_glue_catalog_database.this["bronze"].name
  classifiers   = [aws_glue_classifier.csv.name]

  security_configuration = one(aws_glue_security_configuration.this[*].name)

  dynamic "s3_target" {
    for_each = keys(var.entities)

    content {
      path = "${var.uris.bronze}/${s3_target.value}/"
    }
  }

  # Bronze never changes, so only new folders are read; Glue then demands LOG for changes.
  recrawl_policy {
    recrawl_behavior = "CRAWL_NEW_FOLDERS_ONLY"
  }

  schema_change_policy {
    update_behavior = "LOG"
    delete_behavior = "LOG"
  }

  lineage_configuration {
    crawler_lineage_settings = "DISABLE"
  }

  configuration = jsonencode({
    Version       = 1.0
    Grouping      = { TableGroupingPolicy = "CombineCompatibleSchemas" }
    CrawlerOutput = { Partitions = { AddOrUpdateBehavior = "InheritFromTable" } }
  })
}

resource "aws_glue_crawler" "delta" {
  for_each = {
    silver = keys(var.entities)
    gold   = var.gold_marts
  }

  name          = "${var.name}-${each.key}"
  description   = "Registers ${title(each.key)} Delta tables that the jobs did not register themselves."
  role          = var.role_arns.crawler
  database_name = aws_glue_catalog_database.this[each.key].name

  security_configuration = one(aws_glue_security_configuration.this[*].name)

  delta_target {
    delta_tables              = [for table in each.value : "${var.uris[each.key]}/${table}/"]
    create_native_delta_table = true
    write_manifest            = false
  }

  recrawl_policy {
    recrawl_behavior = "CRAWL_EVERYTHING"
  }

  # LOG: a crawl must not overwrite the comments and PII parameters that the jobs registered.
  schema_change_policy {
    update_behavior = "LOG"
    delete_behavior = "LOG"
  }

  lineage_configuration {
    crawler_lineage_settings = "DISABLE"
  }
}
