locals {
  failed   = ["FAILED", "TIMEOUT", "ERROR"]
  metrics  = "Finlake/${var.name}"
  silver   = { for job, group in var.log_groups : trimprefix(trimsuffix(job, "/output"), "silver-") => group if startswith(job, "silver-") && endswith(job, "/output") }
  counters = { read = "RowsRead", quarantined = "RowsQuarantined" }

  filters = merge([
    for entity, group in local.silver : {
      for field, metric in local.counters : "${entity}/${field}" => {
        group   = group
        metric  = "${metric}-${entity}"
        pattern = "{ $.entities[0].entity = \"${entity}\" && $.entities[0].${field} = * }"
        value   = "$.entities[0].${field}"
      }
    }
  ]...)
}

# --- who is told --------------------------------------------------------------------------------

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AlarmsOfThisAccount"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms.arn
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      },
      # A statement of its own, as EventBridge tells SNS nothing that a condition could ask for: "You can't use
      # Condition blocks in Amazon SNS topic policies for EventBridge" (its user guide, on resource-based policies).
      # With one, each event would be dropped, and nobody would hear of a failed job.
      {
        Sid       = "EventsFromRules"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms.arn
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.alarm_emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

# --- failed jobs --------------------------------------------------------------------------------

# Glue tells EventBridge how each run ended; a metric would come later and without the run's id.
resource "aws_cloudwatch_event_rule" "failed" {
  name        = "${var.name}-job-failed"
  description = "A Glue job of ${var.name} failed or ran out of time."

  event_pattern = jsonencode({
    source      = ["aws.glue"]
    detail-type = ["Glue Job State Change"]
    detail = {
      jobName = sort(values(var.jobs))
      state   = local.failed
    }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule = aws_cloudwatch_event_rule.failed.name
  arn  = aws_sns_topic.alarms.arn

  input_transformer {
    input_paths = {
      job     = "$.detail.jobName"
      message = "$.detail.message"
      run     = "$.detail.jobRunId"
      state   = "$.detail.state"
    }
    input_template = "\"<job> ended as <state> (run <run>): <message>\""
  }
}

# --- quarantine ---------------------------------------------------------------------------------

# A Silver job prints its report as one line of JSON.
resource "aws_cloudwatch_log_metric_filter" "rows" {
  for_each = local.filters

  name           = "${var.name}-${replace(each.key, "/", "-")}"
  log_group_name = each.value.group
  pattern        = each.value.pattern

  metric_transformation {
    namespace = local.metrics
    name      = each.value.metric
    value     = each.value.value
    unit      = "Count"
  }
}

resource "aws_cloudwatch_metric_alarm" "quarantine" {
  for_each = local.silver

  alarm_name          = "${var.name}-quarantine-${each.key}"
  alarm_description   = "More than ${var.quarantine_percent} % of the rows of ${each.key} went to quarantine. Why: finlake quarantine show ${each.key}"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.quarantine_percent
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "rate"
    expression  = "IF(read > 0, 100 * quarantined / read, 0)"
    label       = "Rows quarantined, percent"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.counters

    content {
      id = metric_query.key

      metric {
        namespace   = local.metrics
        metric_name = "${metric_query.value}-${each.key}"
        period      = 3600
        stat        = "Sum"
      }
    }
  }

  depends_on = [aws_cloudwatch_log_metric_filter.rows]
}

# --- freshness ----------------------------------------------------------------------------------

# Gold's job reports each mart; a report without errors means that Gold is as fresh as Silver.
resource "aws_cloudwatch_log_metric_filter" "gold" {
  name           = "${var.name}-gold"
  log_group_name = var.log_groups["gold/output"]
  pattern        = "{ $.marts[0].mart = * && $.errors[0] NOT EXISTS }"

  metric_transformation {
    namespace = local.metrics
    name      = "GoldRefreshed"
    value     = "1"
    unit      = "Count"
  }
}

resource "aws_cloudwatch_metric_alarm" "stale" {
  alarm_name          = "${var.name}-gold-stale"
  alarm_description   = "Gold was not refreshed for ${var.freshness_hours} hours."
  namespace           = local.metrics
  metric_name         = "GoldRefreshed"
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = var.freshness_hours
  datapoints_to_alarm = var.freshness_hours
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  depends_on = [aws_cloudwatch_log_metric_filter.gold]
}

# --- dashboard ----------------------------------------------------------------------------------

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for i, counter in values(local.counters) : {
        type   = "metric"
        x      = 12 * i
        y      = 0
        width  = 12
        height = 6
        properties = {
          title   = "${counter} per day"
          region  = var.region
          stat    = "Sum"
          period  = 86400
          metrics = [for entity in sort(keys(local.silver)) : [local.metrics, "${counter}-${entity}", { label = entity }]]
        }
      }
    ]
  })
}
