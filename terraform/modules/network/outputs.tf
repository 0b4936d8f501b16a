output "endpoint_ids" {
  description = "Ids of the endpoints by service: s3, glue, logs."
  value       = merge({ s3 = aws_vpc_endpoint.s3.id }, { for service, endpoint in aws_vpc_endpoint.interface : service => endpoint.id })
}

output "security_group_id" {
  description = "Id of the security group of the endpoints."
  value       = aws_security_group.this.id
}
