output "topic_arn" {
  description = "Topic of all alarms; Alertmanager may send to it, too."
  value       = aws_sns_topic.alarms.arn
}
