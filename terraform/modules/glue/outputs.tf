output "databases" {
  description = "Glue database names by layer."
  value       = { for layer, database in aws_glue_catalog_database.this : layer => database.name }
}

output "jobs" {
  description = "Job names: silver-<entity> per entity, gold, maintenance, and scoring if there is one."
  value       = { for job, resource in aws_glue_job.this : job => resource.name }
}

output "crawlers" {
  description = "Crawler names by layer."
  value = merge(
    { bronze = aws_glue_crawler.bronze.name },
    { for layer, crawler in aws_glue_crawler.delta : layer => crawler.name },
  )
}

output "workflow" {
  description = "Name of the workflow; null when there is none."
  value       = one(aws_glue_workflow.this[*].name)
}

output "log_groups" {
  description = "Names of the jobs' log groups: <job>/error and <job>/output."
  value       = { for group, resource in aws_cloudwatch_log_group.job : group => resource.name }
}
