# Private ways from a network of yours to S3, Glue and CloudWatch Logs: without them, what runs in its private
# subnets needs the internet to reach the lake. The network itself is not made here: you have one.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_table_ids

  # A way out of the network for data is a way out for stolen data: only to the lake's own buckets.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "TheLakesBuckets"
        Effect    = "Allow"
        Principal = "*"
        Action = [
          "s3:AbortMultipartUpload",
          "s3:DeleteObject",
          "s3:GetBucketLocation",
          "s3:GetObject",
          "s3:ListBucket",
          "s3:ListMultipartUploadParts",
          "s3:PutObject",
        ]
        Resource  = flatten([for bucket in var.buckets : ["arn:${var.partition}:s3:::${bucket}", "arn:${var.partition}:s3:::${bucket}/*"]])
        Condition = { StringEquals = { "aws:PrincipalAccount" = var.account_id } }
      }],
      length(var.readable_buckets) == 0 ? [] : [jsondecode(jsonencode({
        Sid       = "OthersReadOnly"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:GetObject"]
        Resource  = [for bucket in var.readable_buckets : "arn:${var.partition}:s3:::${bucket}/*"]
      }))],
    )
  })

  tags = { Name = "${var.name}-s3" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.services

  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.this.id]
  private_dns_enabled = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ThisAccount"
      Effect    = "Allow"
      Principal = "*"
      Action    = each.value
      # Which tables and groups is said by the roles; from elsewhere nobody gets through.
      Resource  = "*"
      Condition = { StringEquals = { "aws:PrincipalAccount" = var.account_id } }
    }]
  })

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:It is attached to the interface endpoints above.
  name        = "${var.name}-endpoints"
  description = "HTTPS from the network to the endpoints of ${var.name}"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  for_each = toset(var.cidr_blocks)

  security_group_id = aws_security_group.this.id
  description       = "HTTPS from ${each.value}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

locals {
  # By service, what the lake's jobs and readers ask of it.
  services = {
    glue = [
      "glue:BatchCreatePartition",
      "glue:BatchGetPartition",
      "glue:BatchUpdatePartition",
      "glue:CreatePartition",
      "glue:CreateTable",
      "glue:GetDatabase",
      "glue:GetDatabases",
      "glue:GetJobRun",
      "glue:GetPartition",
      "glue:GetPartitions",
      "glue:GetTable",
      "glue:GetTables",
      "glue:StartJobRun",
      "glue:UpdatePartition",
      "glue:UpdateTable",
    ]
    logs = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
  }
}
