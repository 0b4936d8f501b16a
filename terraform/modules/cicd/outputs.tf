output "role_arns" {
  description = "ARNs of the roles by what they are for: plan, apply, and test."
  value       = { for role, resource in aws_iam_role.this : role => resource.arn }
}

output "pipeline" {
  description = "Name of the CodePipeline; null when there is none."
  value       = one(aws_codepipeline.this[*].name)
}

output "connection_arn" {
  description = "ARN of the connection to GitHub, to be confirmed in the console when it is new; null when there is none."
  value       = local.connection_arn
}
