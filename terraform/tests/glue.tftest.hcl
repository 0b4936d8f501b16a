# Databases, jobs and crawlers.
mock_provider "aws" {}

variables {
  name       = "lake-dev"
  entities   = { accounts = "One row per account.", loans = "One row per loan." }
  gold_marts = ["customer_360", "loan_portfolio"]
  databases = {
    bronze     = "lake_dev_bronze"
    silver     = "lake_dev_silver"
    gold       = "lake_dev_gold"
    quarantine = "lake_dev_quarantine"
    ops        = "lake_dev_ops"
  }
  uris = {
    bronze     = "s3://lake-dev-bronze"
    silver     = "s3://lake-dev-silver"
    gold       = "s3://lake-dev-gold"
    quarantine = "s3://lake-dev-silver/_quarantine"
    ops        = "s3://lake-dev-silver/_ops"
  }
  settings         = { FINLAKE_ENV = "dev", FINLAKE_SILVER_URI = "s3://lake-dev-silver" }
  region           = "eu-central-1"
  scripts_bucket   = "lake-dev-scripts"
  script_path      = "tests/fixtures/glue_job.py"
  wheel_path       = "tests/fixtures/finlake-0.0.0-py3-none-any.whl"
  constraints_path = "../constraints.txt"
  role_arns = {
    silver-accounts = "arn:aws:iam::123456789012:role/lake-dev-silver-accounts"
    silver-loans    = "arn:aws:iam::123456789012:role/lake-dev-silver-loans"
    gold            = "arn:aws:iam::123456789012:role/lake-dev-gold"
    maintenance     = "arn:aws:iam::123456789012:role/lake-dev-maintenance"
    crawler         = "arn:aws:iam::123456789012:role/lake-dev-crawler"
  }
  log_group_prefix   = "/aws-glue/jobs/lake-dev"
  log_retention_days = 14
  worker_type        = "G.1X"
  number_of_workers  = 3
  timeout_minutes    = 45
  max_retries        = 1
}

run "jobs" {
  module {
    source = "./modules/glue"
  }

  assert {
    condition = { for job, resource in aws_glue_job.this : job => resource.name } == {
      silver-accounts = "lake-dev-silver-accounts"
      silver-loans    = "lake-dev-silver-loans"
      gold            = "lake-dev-gold"
      maintenance     = "lake-dev-maintenance"
    }
    error_message = "There must be one job per entity, one for Gold, and one for maintenance."
  }

  assert {
    condition = alltrue([
      for job in values(aws_glue_job.this) :
      job.glue_version == "5.1" && job.worker_type == "G.1X" && job.number_of_workers == 3 && job.timeout == 45
      && job.max_retries == 1 && one(job.execution_property).max_concurrent_runs == 1
      && one(job.command).name == "glueetl" && one(job.command).script_location == "s3://lake-dev-scripts/jobs/fed890e3d395559e/glue_job.py"
    ])
    error_message = "Every job must be a Glue 5.1 Spark job of the wanted size that never runs twice at once."
  }

  assert {
    condition     = alltrue([for job, resource in aws_glue_job.this : resource.role_arn == var.role_arns[job]])
    error_message = "Every job must run under its own role."
  }

  assert {
    condition = (
      aws_glue_job.this["silver-loans"].default_arguments["--layer"] == "silver"
      && aws_glue_job.this["silver-loans"].default_arguments["--entity"] == "loans"
      && aws_glue_job.this["gold"].default_arguments["--layer"] == "gold"
      && !contains(keys(aws_glue_job.this["gold"].default_arguments), "--entity")
    )
    error_message = "A job must be told its layer, and a Silver job its entity."
  }

  assert {
    condition = alltrue([
      for job in values(aws_glue_job.this) :
      job.default_arguments["--FINLAKE_ENV"] == "dev" && job.default_arguments["--FINLAKE_SILVER_URI"] == "s3://lake-dev-silver"
    ])
    error_message = "Every job must get the stage's settings."
  }

  assert {
    condition = alltrue([
      for job in values(aws_glue_job.this) :
      job.default_arguments["--datalake-formats"] == "delta"
      && strcontains(job.default_arguments["--conf"], "spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension")
      && strcontains(job.default_arguments["--conf"], " --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog")
      && strcontains(job.default_arguments["--conf"], " --conf spark.hadoop.fs.s3a.endpoint.region=eu-central-1")
      && job.default_arguments["--job-bookmark-option"] == "job-bookmark-disable"
    ])
    error_message = "Every job must run with Delta, with S3 in its own region, and without Glue's bookmarks."
  }

  assert {
    condition = alltrue(flatten([
      for job in values(aws_glue_job.this) : [
        for watch in ["continuous-cloudwatch-log", "metrics", "observability-metrics", "spark-ui"] : job.default_arguments["--enable-${watch}"] == "true"
      ]
    ]))
    error_message = "Every job must write its log at once, its metrics, and Spark's events."
  }

  assert {
    condition = alltrue(flatten([
      for job in values(aws_glue_job.this) : [
        for i, module in split(",", job.default_arguments["--additional-python-modules"]) :
        i == 0 ? module == "s3://lake-dev-scripts/wheels/a96bb6fde7825da8/finlake-0.0.0-py3-none-any.whl" : can(regex("^[A-Za-z0-9_-]+==[0-9.]+$", module))
      ]
    ]))
    error_message = "A job must install the project's wheel, and the rest at pinned versions."
  }

  assert {
    condition = alltrue([
      for job, resource in aws_glue_job.this : alltrue([
        for stream in ["error", "output"] :
        aws_cloudwatch_log_group.job["${job}/${stream}"].name == "${resource.default_arguments["--custom-logGroup-prefix"]}/${stream}"
        && aws_cloudwatch_log_group.job["${job}/${stream}"].retention_in_days == 14
      ])
    ])
    error_message = "The log groups that a job writes to must exist, with a retention."
  }
}

run "catalogue" {
  module {
    source = "./modules/glue"
  }

  assert {
    condition = { for layer, database in aws_glue_catalog_database.this : layer => database.location_uri } == {
      bronze     = "s3://lake-dev-bronze/"
      silver     = "s3://lake-dev-silver/"
      gold       = "s3://lake-dev-gold/"
      quarantine = "s3://lake-dev-silver/_quarantine/"
      ops        = "s3://lake-dev-silver/_ops/"
    }
    error_message = "Every layer must have its database, at the layer's place."
  }

  assert {
    condition = (
      toset([for target in aws_glue_crawler.bronze.s3_target : target.path]) == toset(["s3://lake-dev-bronze/accounts/", "s3://lake-dev-bronze/loans/"])
      && aws_glue_crawler.bronze.classifiers == tolist([aws_glue_classifier.csv.name])
      && one(aws_glue_crawler.bronze.recrawl_policy).recrawl_behavior == "CRAWL_NEW_FOLDERS_ONLY"
    )
    error_message = "The Bronze crawler must read the CSV files of every entity, new folders only."
  }

  assert {
    condition = alltrue([
      for crawler in values(aws_glue_crawler.delta) :
      one(crawler.delta_target).create_native_delta_table && !one(crawler.delta_target).write_manifest
      && one(crawler.schema_change_policy).update_behavior == "LOG" && one(crawler.schema_change_policy).delete_behavior == "LOG"
    ])
    error_message = "Delta crawlers must make native tables, and never overwrite what a job registered."
  }

  assert {
    condition = (
      one(aws_glue_crawler.delta["silver"].delta_target).delta_tables == toset(["s3://lake-dev-silver/accounts/", "s3://lake-dev-silver/loans/"])
      && one(aws_glue_crawler.delta["gold"].delta_target).delta_tables == toset(["s3://lake-dev-gold/customer_360/", "s3://lake-dev-gold/loan_portfolio/"])
    )
    error_message = "Delta crawlers must look at every table of their layer."
  }
}

run "a_missing_wheel_is_explained" {
  command = plan

  module {
    source = "./modules/glue"
  }

  variables {
    wheel_path = null
  }

  expect_failures = [var.wheel_path]
}

run "jobs_run_in_order_by_the_clock" {
  module {
    source = "./modules/glue"
  }

  variables {
    parents  = { accounts = [], loans = ["accounts"] }
    workflow = { schedule = "cron(15 3 * * ? *)" }
  }

  assert {
    condition = (
      aws_glue_trigger.start[0].type == "SCHEDULED" && aws_glue_trigger.start[0].schedule == "cron(15 3 * * ? *)"
      && [for action in aws_glue_trigger.start[0].actions : action.job_name] == ["lake-dev-silver-accounts"]
    )
    error_message = "The clock must start the jobs of entities without parents, and no other."
  }

  assert {
    condition = {
      for job, trigger in aws_glue_trigger.after : job => [
        one(trigger.actions).job_name, one(trigger.predicate).logical, [for condition in one(trigger.predicate).conditions : "${condition.job_name} ${condition.state}"]
      ]
      } == {
      silver-loans = ["lake-dev-silver-loans", "AND", ["lake-dev-silver-accounts SUCCEEDED"]]
      gold         = ["lake-dev-gold", "AND", ["lake-dev-silver-accounts SUCCEEDED", "lake-dev-silver-loans SUCCEEDED"]]
      maintenance  = ["lake-dev-maintenance", "AND", ["lake-dev-gold SUCCEEDED"]]
    }
    error_message = "Parents must come before children, all Silver jobs before Gold, Gold before maintenance."
  }

  assert {
    condition = alltrue([
      for job, resource in aws_glue_job.this :
      resource.default_arguments["--enable-auto-scaling"] == "true"
      && resource.default_arguments["--spark-event-logs-path"] == "s3://lake-dev-scripts/spark-ui/${job}/"
    ])
    error_message = "Jobs must scale by themselves and keep Spark's event log, each below its own prefix."
  }
}

run "scoring_comes_last_where_it_is_asked_for" {
  module {
    source = "./modules/glue"
  }

  variables {
    workflow      = {}
    scoring_model = "sagemaker:lake-dev-models"
    role_arns = {
      silver-accounts = "arn:aws:iam::123456789012:role/lake-dev-silver-accounts"
      silver-loans    = "arn:aws:iam::123456789012:role/lake-dev-silver-loans"
      gold            = "arn:aws:iam::123456789012:role/lake-dev-gold"
      maintenance     = "arn:aws:iam::123456789012:role/lake-dev-maintenance"
      scoring         = "arn:aws:iam::123456789012:role/lake-dev-scoring"
      crawler         = "arn:aws:iam::123456789012:role/lake-dev-crawler"
    }
  }

  assert {
    condition = (
      aws_glue_job.this["scoring"].default_arguments["--layer"] == "scoring"
      && aws_glue_job.this["scoring"].default_arguments["--model"] == "sagemaker:lake-dev-models"
      && aws_glue_job.this["scoring"].role_arn == "arn:aws:iam::123456789012:role/lake-dev-scoring"
      && aws_glue_job.this["scoring"].default_arguments["--additional-python-modules"] == aws_glue_job.this["gold"].default_arguments["--additional-python-modules"]
      && aws_cloudwatch_log_group.job["scoring/output"].name == "/aws-glue/jobs/lake-dev-scoring/output"
      && output.jobs.scoring == "lake-dev-scoring"
    )
    error_message = "The job must be told its model, have a role and logs of its own, and install what all jobs install."
  }

  assert {
    condition     = [for condition in one(aws_glue_trigger.after["scoring"].predicate).conditions : condition.job_name] == ["lake-dev-maintenance"]
    error_message = "Scoring must come after maintenance, which has Gold's lock as well."
  }

  assert {
    condition     = [for job, resource in aws_glue_job.this : job if contains(keys(resource.default_arguments), "--model")] == ["scoring"]
    error_message = "No other job must be told of a model."
  }
}

run "by_hand_means_that_an_apply_starts_nothing" {
  module {
    source = "./modules/glue"
  }

  variables {
    workflow = {}
  }

  assert {
    condition     = aws_glue_trigger.start[0].type == "ON_DEMAND" && aws_glue_trigger.start[0].enabled == false
    error_message = "A trigger on demand must not be fired by Terraform."
  }
}

run "a_key_encrypts_what_glue_itself_writes" {
  module {
    source = "./modules/glue"
  }

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition = (
      one(one(aws_glue_security_configuration.this[0].encryption_configuration).s3_encryption).kms_key_arn == var.kms_key_arn
      && alltrue([for job in values(aws_glue_job.this) : job.security_configuration == "lake-dev"])
      && alltrue([for group in values(aws_cloudwatch_log_group.job) : group.kms_key_id == var.kms_key_arn])
      && aws_glue_crawler.bronze.security_configuration == "lake-dev"
    )
    error_message = "Jobs, crawlers and log groups must use the key."
  }

  assert {
    condition     = length(aws_glue_trigger.after) == 0 && output.workflow == null
    error_message = "Without workflow there must be no trigger."
  }
}

run "a_schedule_that_glue_would_refuse_is_refused" {
  command = plan

  module {
    source = "./modules/glue"
  }

  variables {
    workflow = { schedule = "15 3 * * *" }
  }

  expect_failures = [var.workflow]
}

run "rulesets_say_what_the_contracts_say" {
  module {
    source = "./modules/glue"
  }

  variables {
    rulesets = { loans = { key = ["loan_id"], required = ["loan_id", "principal"] } }
  }

  assert {
    condition = (
      aws_glue_data_quality_ruleset.silver["loans"].ruleset == "Rules = [ IsPrimaryKey \"loan_id\", IsComplete \"loan_id\", IsComplete \"principal\" ]"
      && aws_glue_data_quality_ruleset.silver["loans"].target_table[0].database_name == "lake_dev_silver"
      && aws_glue_data_quality_ruleset.silver["loans"].target_table[0].table_name == "loans"
    )
    error_message = "A ruleset must check key and required columns of the Silver table."
  }
}

run "packages_may_come_from_a_place_of_your_own" {
  command = plan

  module {
    source = "./modules/glue"
  }

  variables {
    pip_options = "--no-index --find-links=wheels"
  }

  assert {
    condition     = alltrue([for job in values(aws_glue_job.this) : job.default_arguments["--python-modules-installer-option"] == var.pip_options])
    error_message = "Every job must give pip these options."
  }
}

run "a_ruleset_without_a_key_is_refused" {
  command = plan

  module {
    source = "./modules/glue"
  }

  variables {
    rulesets = { loans = { key = [], required = [] } }
  }

  expect_failures = [var.rulesets]
}
