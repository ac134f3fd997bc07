# For the model that customers see: three zones, protected data, a locked registry.

module "platform" {
  source = "../../modules/platform"

  name   = "sightline-prod"
  size   = yamldecode(file("${path.module}/size.yaml"))
  cidr   = "10.30.0.0/16"
  bucket = var.bucket

  admin_principal_arns       = var.admin_principal_arns
  operator_principal_arns    = var.operator_principal_arns
  break_glass_principal_arns = var.break_glass_principal_arns
  public_access_cidrs        = var.public_access_cidrs
  identity_mechanism         = "pod-identity"

  protect_data       = true
  registry_lock_days = 0

  month_usd      = 2500
  anomaly_usd    = 50
  mail_addresses = var.mail_addresses
  prices         = var.prices
}
