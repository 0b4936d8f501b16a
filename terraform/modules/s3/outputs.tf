output "buckets" {
  description = "Bucket names by layer."
  value       = { for layer, bucket in aws_s3_bucket.this : layer => bucket.id }
}

output "arns" {
  description = "Bucket ARNs by layer."
  value       = local.arns
}
