output "databases" {
  description = "Glue database names by layer."
  value       = { for layer, database in aws_glue_catalog_database.this : layer => database.name }
}

output "jobs" {
  description = "Job names: silver-<entity> per entity, and gold."
  value       = { for job, resource in aws_glue_job.this : job => resource.name }
}

output "crawlers" {
  description = "Crawler names by layer."
  value = merge(
    { bronze = aws_glue_crawler.bronze.name },
    { for layer, crawler in aws_glue_crawler.delta : layer => crawler.name },
  )
}
