output "role_arns" {
  description = "Role ARNs: silver-<entity> per entity, gold, and crawler."
  value       = { for name, role in aws_iam_role.this : name => role.arn }

  # Glue checks that it may assume a role when a job or crawler is made: hand roles out complete.
  depends_on = [aws_iam_role_policy.this]
}
