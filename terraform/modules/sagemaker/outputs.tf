output "state_machine_arn" {
  description = "ARN of the state machine that trains; null when there is none."
  value       = one(aws_sfn_state_machine.training[*].arn)
}

output "model_package_group" {
  description = "Name of the group that models are registered in."
  value       = aws_sagemaker_model_package_group.this.model_package_group_name
}

output "training_role_arn" {
  description = "ARN of SageMaker's execution role."
  value       = aws_iam_role.training.arn
}
