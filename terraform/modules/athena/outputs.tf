output "workgroup" {
  description = "Name of the workgroup."
  value       = aws_athena_workgroup.this.name
}
