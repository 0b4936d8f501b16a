output "data_source_arn" {
  description = "ARN of the data source."
  value       = aws_quicksight_data_source.athena.arn
}

output "analysis_arn" {
  description = "ARN of the analysis; null when there are no key figures."
  value       = one(aws_quicksight_analysis.kpis[*].arn)
}

output "data_set_arns" {
  description = "ARNs of the datasets by mart."
  value       = { for mart, data_set in aws_quicksight_data_set.mart : mart => data_set.arn }
}
