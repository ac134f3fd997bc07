output "name" {
  description = "Name of the cluster."
  value       = aws_eks_cluster.this.name
}

output "arn" {
  description = "ARN of the cluster."
  value       = aws_eks_cluster.this.arn
}

output "endpoint" {
  description = "Address of the API server."
  value       = aws_eks_cluster.this.endpoint
}

output "oidc_issuer" {
  description = "Issuer of service account tokens, for IRSA."
  value       = aws_eks_cluster.this.identity[0].oidc[0].issuer
}

output "security_group_id" {
  description = "Security group of control plane and nodes."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "node_role_arn" {
  description = "Role of nodes; GPU pools use it too."
  value       = aws_iam_role.node.arn

  # A pool that joins before the role may pull images fails and is not tried again.
  depends_on = [aws_iam_role_policy_attachment.node, aws_eks_addon.before_nodes]
}

output "cpu_autoscaling_group" {
  description = "Auto Scaling group of the CPU pool."
  value       = aws_eks_node_group.cpu.resources[0].autoscaling_groups[0].name
}
