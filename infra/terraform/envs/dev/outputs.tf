output "settings" {
  description = "What the kustomize overlay needs, as strings."
  value       = module.platform.settings
}

output "prices" {
  description = "The prices file of the library (cluster.prices)."
  value       = module.platform.prices
}

output "kubeconfig_command" {
  description = "Run this once to reach the cluster with kubectl."
  value       = module.platform.kubeconfig_command
}
