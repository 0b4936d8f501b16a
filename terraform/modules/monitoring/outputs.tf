output "topic_arn" {
  description = "ARN of the topic that gets all alarms."
  value       = aws_sns_topic.alarms.arn
}
