output "tag" {
  description = "Key of the tag, and its values."
  value       = { key = aws_lakeformation_lf_tag.pii.key, values = aws_lakeformation_lf_tag.pii.values }
}

output "location_role_arn" {
  description = "ARN of the role with which Lake Formation reads for its readers."
  value       = aws_iam_role.location.arn
}
