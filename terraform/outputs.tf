output "settings" {
  description = "Environment variables that point `finlake` at this stage."
  value       = local.settings
}

output "buckets" {
  description = "Bucket names by layer; masked public copies as public_silver and public_gold, where they exist."
  value       = merge(module.s3.buckets, { for layer, bucket in module.s3_public.buckets : "public_${layer}" => bucket })
}

output "databases" {
  description = "Glue database names by layer."
  value       = module.glue.databases
}

output "jobs" {
  description = "Glue job names: one per entity, gold, maintenance, and scoring if there is one."
  value       = module.glue.jobs
}

output "crawlers" {
  description = "Glue crawler names by layer."
  value       = module.glue.crawlers
}

output "role_arns" {
  description = "ARNs of the roles: one per entity's job, gold, maintenance, scoring if there is such a job, and crawler."
  value       = module.iam.role_arns
}

output "erasure_policy_arn" {
  description = "ARN of the policy for the people who erase persons; null when there is none."
  value       = module.iam.erasure_policy_arn
}

output "publishing_policy_arn" {
  description = "ARN of the policy for the people who publish masked copies; null when there is none."
  value       = module.iam.publishing_policy_arn
}

output "workflow" {
  description = "Name of the Glue workflow; null when there is none."
  value       = module.glue.workflow
}

output "athena_workgroup" {
  description = "Name of the Athena workgroup; null when there is none."
  value       = one(module.athena[*].workgroup)
}

output "alarm_topic_arn" {
  description = "ARN of the topic that gets all alarms; null when there is none."
  value       = one(module.monitoring[*].topic_arn)
}

output "external_location_role_arn" {
  description = "ARN of the role for a Databricks storage credential; null when there is none."
  value       = module.s3_public.external_location_role_arn
}

output "endpoint_ids" {
  description = "Ids of the network's endpoints by service; null when there are none."
  value       = one(module.network[*].endpoint_ids)
}

output "lake_formation_tag" {
  description = "Key and values of the tag for personal data; null when there is none."
  value       = one(module.lake_formation[*].tag)
}

output "quicksight_data_sets" {
  description = "ARNs of the QuickSight datasets by Gold table; null when there are none."
  value       = one(module.quicksight[*].data_set_arns)
}

output "model_package_group" {
  description = "Name of the group in which models wait for approval; null when there is none."
  value       = one(module.sagemaker[*].model_package_group)
}

output "training_state_machine_arn" {
  description = "ARN of the state machine that trains; null when there is none."
  value       = one(module.sagemaker[*].state_machine_arn)
}
