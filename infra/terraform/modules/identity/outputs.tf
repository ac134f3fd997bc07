output "roles" {
  description = "Name of each role by <namespace>/<ServiceAccount>."
  value       = { for key, role in aws_iam_role.account : key => role.name }
}

output "role_arns" {
  description = "ARN of each role by <namespace>/<ServiceAccount>; with irsa the annotation eks.amazonaws.com/role-arn."
  value       = { for key, role in aws_iam_role.account : key => role.arn }
}
