locals {
  topic = [aws_sns_topic.alarms.arn]
}

# A GPU node that trains loads images on its CPUs all the time; one that waits does nothing. No data means no node.
resource "aws_cloudwatch_metric_alarm" "gpu_idle" {
  for_each = var.gpu_autoscaling_groups

  alarm_name          = "${var.name}-gpu-idle-${each.key}"
  alarm_description   = "GPU nodes (${each.key}) have used less than ${var.idle_cpu_percent} % of their CPUs for ${var.gpu_idle_hours} hours: is a notebook or a hanging job holding them?"
  namespace           = "AWS/EC2"
  metric_name         = "CPUUtilization"
  dimensions          = { AutoScalingGroupName = each.value }
  statistic           = "Average"
  period              = 3600
  evaluation_periods  = var.gpu_idle_hours
  comparison_operator = "LessThanThreshold"
  threshold           = var.idle_cpu_percent
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic
  ok_actions          = local.topic
}

resource "aws_cloudwatch_metric_alarm" "gpu_long" {
  for_each = var.gpu_autoscaling_groups

  alarm_name          = "${var.name}-gpu-long-${each.key}"
  alarm_description   = "GPU nodes (${each.key}) have been running for ${var.gpu_long_hours} hours without a break; no retraining takes that long"
  namespace           = "AWS/AutoScaling"
  metric_name         = "GroupInServiceInstances"
  dimensions          = { AutoScalingGroupName = each.value }
  statistic           = "Minimum"
  period              = 3600
  evaluation_periods  = var.gpu_long_hours
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic
  ok_actions          = local.topic
}

resource "aws_cloudwatch_metric_alarm" "bucket" {
  for_each = {
    # Lost races for a write-once record are answered 412 and are healthy; hundreds of errors are not.
    "4xx" = { metric = "4xxErrors", threshold = 200, meaning = "denied or missing objects: a policy or a deleted prefix" }
    "5xx" = { metric = "5xxErrors", threshold = 20, meaning = "S3 slows down or fails" }
  }

  alarm_name          = "${var.name}-bucket-${each.key}"
  alarm_description   = "More than ${each.value.threshold} ${each.key} answers of the bucket in five minutes, three times: ${each.value.meaning}"
  namespace           = "AWS/S3"
  metric_name         = each.value.metric
  dimensions          = { BucketName = var.bucket, FilterId = var.bucket_metrics_filter }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.topic
  ok_actions          = local.topic
}

resource "aws_cloudwatch_metric_alarm" "database_storage" {
  for_each = var.databases

  alarm_name          = "${var.name}-storage-${each.key}"
  alarm_description   = "Less than 2 GiB free on database ${each.key}"
  namespace           = "AWS/RDS"
  metric_name         = "FreeStorageSpace"
  dimensions          = { DBInstanceIdentifier = each.value }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 2 * 1024 * 1024 * 1024
  treat_missing_data  = "breaching"
  alarm_actions       = local.topic
  ok_actions          = local.topic
}
