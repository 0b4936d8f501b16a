variable "name" {
  description = "First part of names: prefix and environment."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets that get an address of the Glue and the Logs endpoint, one per availability zone."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "The endpoints of Glue and Logs need at least one subnet."
  }
}

variable "route_table_ids" {
  description = "Route tables of the private subnets: they get the way to S3."
  type        = list(string)

  validation {
    condition     = length(var.route_table_ids) > 0
    error_message = "Without a route table, nothing would take the way to S3."
  }
}

variable "cidr_blocks" {
  description = "Addresses within the network that may use the endpoints, such as [\"10.0.0.0/16\"]."
  type        = list(string)

  validation {
    condition     = length(var.cidr_blocks) > 0 && alltrue([for block in var.cidr_blocks : can(cidrhost(block, 0)) && block != "0.0.0.0/0"])
    error_message = "cidr_blocks are ranges of your network such as 10.0.0.0/16, not the whole internet."
  }
}

variable "buckets" {
  description = "The lake's buckets; S3's endpoint leads to no other."
  type        = list(string)
}

variable "readable_buckets" {
  description = "Further buckets that may be read through the endpoint, such as those of package mirrors or of AWS."
  type        = list(string)
  default     = []
}

variable "account_id" {
  description = "AWS account id: nobody else's roles get through."
  type        = string
}

variable "partition" {
  description = "AWS partition, for ARNs."
  type        = string
  default     = "aws"
}

variable "region" {
  description = "AWS region."
  type        = string
}
