output "role_arns" {
  description = "ARNs of the roles: plan and apply go into GitHub's variables AWS_PLAN_ROLE_ARN and AWS_APPLY_ROLE_ARN."
  value       = module.cicd.role_arns
}

output "connection_arn" {
  description = "Connection to GitHub, to be confirmed in the console; null without a pipeline."
  value       = module.cicd.connection_arn
}
