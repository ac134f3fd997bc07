output "autoscaling_groups" {
  description = "Auto Scaling group of each capacity type."
  value       = { for capacity, group in aws_eks_node_group.this : capacity => group.resources[0].autoscaling_groups[0].name }
}
