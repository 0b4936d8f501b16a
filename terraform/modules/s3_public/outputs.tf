output "buckets" {
  description = "Bucket names by layer; empty when nobody is let in."
  value       = { for layer, bucket in aws_s3_bucket.this : layer => bucket.id }
}

output "external_location_role_arn" {
  description = "ARN of the role for a Databricks storage credential; null when there is none."
  value       = one(aws_iam_role.external[*].arn)
}
