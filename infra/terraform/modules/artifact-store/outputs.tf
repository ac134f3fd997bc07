output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.bucket
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.this.arn
}

output "kms_key_arn" {
  description = "Key of the bucket's objects."
  value       = module.key.arn
}

output "break_glass_role_arn" {
  description = "Role that may delete from the registry."
  value       = aws_iam_role.break_glass.arn
}

output "metrics_filter" {
  description = "Name of the bucket's request metrics."
  value       = aws_s3_bucket_metric.this.name
}
