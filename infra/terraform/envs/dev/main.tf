# For trying things: small, one NAT gateway, data that may be destroyed.

module "platform" {
  source = "../../modules/platform"

  name   = "sightline-dev"
  size   = yamldecode(file("${path.module}/size.yaml"))
  cidr   = "10.20.0.0/16"
  bucket = var.bucket

  admin_principal_arns       = var.admin_principal_arns
  operator_principal_arns    = var.operator_principal_arns
  break_glass_principal_arns = []
  public_access_cidrs        = var.public_access_cidrs
  identity_mechanism         = "pod-identity"

  protect_data       = false
  registry_lock_days = 0

  month_usd      = 600
  anomaly_usd    = 0
  mail_addresses = var.mail_addresses
  prices         = var.prices
}
