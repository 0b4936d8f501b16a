output "key_arn" {
  description = "ARN of the key."

  # Put together, not read: so a plan knows that it is not null before the key is there, and can count on it.
  value = "arn:${var.partition}:kms:${var.region}:${var.account_id}:key/${aws_kms_key.this.key_id}"
}
