# Alarms: failed jobs, quarantine, freshness.
mock_provider "aws" {
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:lake-dev-alarms" }
  }
}

variables {
  name       = "lake-dev"
  account_id = "123456789012"
  region     = "eu-central-1"
  jobs       = { silver-loans = "lake-dev-silver-loans", gold = "lake-dev-gold" }
  log_groups = {
    "silver-loans/output" = "/aws-glue/jobs/lake-dev-silver-loans/output"
    "silver-loans/error"  = "/aws-glue/jobs/lake-dev-silver-loans/error"
    "gold/output"         = "/aws-glue/jobs/lake-dev-gold/output"
    "gold/error"          = "/aws-glue/jobs/lake-dev-gold/error"
  }
}

run "failures_are_told" {
  module {
    source = "./modules/monitoring"
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.failed.event_pattern).detail == { jobName = ["lake-dev-gold", "lake-dev-silver-loans"], state = ["FAILED", "TIMEOUT", "ERROR"] }
    error_message = "Each job's failures must be told, and those of no other stage."
  }

  assert {
    condition = (
      aws_cloudwatch_event_target.failed.arn == aws_sns_topic.alarms.arn
      && alltrue([for alarm in concat(values(aws_cloudwatch_metric_alarm.quarantine), [aws_cloudwatch_metric_alarm.stale]) : alarm.alarm_actions == toset([aws_sns_topic.alarms.arn])])
    )
    error_message = "Everything must go to the topic."
  }

  assert {
    condition = { for statement in jsondecode(aws_sns_topic_policy.alarms.policy).Statement : statement.Principal.Service => [statement.Action, try(statement.Condition.StringEquals["aws:SourceAccount"], null)] } == {
      "cloudwatch.amazonaws.com" = ["sns:Publish", "123456789012"]
      "events.amazonaws.com"     = ["sns:Publish", null]
    }
    error_message = "Alarms of this account and events may reach the topic; with a condition, no event would."
  }
}

run "quarantine_is_a_rate_per_entity" {
  module {
    source = "./modules/monitoring"
  }

  variables {
    quarantine_percent = 2
  }

  assert {
    condition = { for key, filter in aws_cloudwatch_log_metric_filter.rows : key => one(filter.metric_transformation).value } == {
      "loans/quarantined" = "$.entities[0].quarantined"
      "loans/read"        = "$.entities[0].read"
    }
    error_message = "Rows read and quarantined must come from the report that a Silver job prints."
  }

  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.quarantine) == ["loans"] && aws_cloudwatch_metric_alarm.quarantine["loans"].threshold == 2
    error_message = "Each entity must have an alarm, Gold has none."
  }
}

run "silence_is_an_alarm" {
  module {
    source = "./modules/monitoring"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.stale.treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.stale.evaluation_periods == 26
    error_message = "When Gold is not refreshed at all, there is no data: that is what the alarm is for."
  }
}

run "an_address_that_is_none_is_refused" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  variables {
    alarm_emails = ["ops at example.com"]
  }

  expect_failures = [var.alarm_emails]
}
