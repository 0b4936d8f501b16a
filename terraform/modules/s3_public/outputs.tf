output "buckets" {
  description = "Bucket names by layer; empty when access is none."
  value       = { for layer, bucket in aws_s3_bucket.this : layer => bucket.id }
}
