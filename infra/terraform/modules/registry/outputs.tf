output "host" {
  description = "Host of the repositories."
  value       = local.host
}

output "prefix" {
  description = "What replaces ghcr.io/sightline in the manifests."
  value       = "${local.host}/${var.name}"
}

output "repositories" {
  description = "Repository URL of each image."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}
