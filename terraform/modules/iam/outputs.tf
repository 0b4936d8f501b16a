output "role_arns" {
  description = "Role ARNs: silver-<entity> per entity, gold, maintenance, scoring with scoring_group, and crawler."
  value       = { for name, role in aws_iam_role.this : name => role.arn }

  # Glue checks that it may assume a role when a job or crawler is made: hand roles out complete.
  depends_on = [aws_iam_role_policy.this]
}

output "permissions_boundary_arn" {
  description = "ARN of the policy that bounds every role."
  value       = var.permissions_boundary_arn != null ? var.permissions_boundary_arn : aws_iam_policy.boundary[0].arn
}

output "erasure_policy_arn" {
  description = "ARN of the policy for the people who erase persons; null when there is none."
  value       = try(aws_iam_policy.erasure[0].arn, null)
}

output "publishing_policy_arn" {
  description = "ARN of the policy for the people who publish masked copies; null when there is none."
  value       = try(aws_iam_policy.publishing[0].arn, null)
}
