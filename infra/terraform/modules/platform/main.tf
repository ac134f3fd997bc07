# One environment. The roots in envs/ differ in size and in who may do what, never in how the parts are put together.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  zones = [for letter in var.size.zones : "${data.aws_region.current.name}${letter}"]

  # MLflow needs PostgreSQL. Kubeflow Pipelines needs MySQL 8, and brings one of its own in a pod unless an instance is asked for here.
  databases = merge(
    { mlflow = { engine = "postgres", version = "17", database = "mlflow" } },
    var.size.kfp_database ? { kfp = { engine = "mysql", version = "8.4", database = "mlpipeline" } } : {},
  )
}

module "network" {
  source = "../network"

  name                = var.name
  cluster_name        = var.name
  cidr                = var.cidr
  zones               = local.zones
  nat_per_zone        = var.size.nat_per_zone
  interface_endpoints = var.size.interface_endpoints
}

module "cluster" {
  source = "../cluster"

  name                 = var.name
  kubernetes_version   = var.size.kubernetes_version
  subnet_ids           = module.network.private_subnet_ids
  public_access_cidrs  = var.public_access_cidrs
  admin_principal_arns = var.admin_principal_arns
  cpu_pool             = var.size.cpu_pool
}

module "gpu_pool" {
  source   = "../gpu-node-pool"
  for_each = var.size.gpu_pools

  name                      = "${var.name}-${each.key}"
  cluster_name              = module.cluster.name
  kubernetes_version        = var.size.kubernetes_version
  node_role_arn             = module.cluster.node_role_arn
  vpc_id                    = module.network.vpc_id
  subnet_ids                = module.network.private_subnet_ids
  cluster_security_group_id = module.cluster.security_group_id
  instance_types            = each.value.instance_types
  gpus_per_node             = each.value.gpus_per_node
  max_spot_nodes            = each.value.max_spot_nodes
  max_on_demand_nodes       = each.value.max_on_demand_nodes
  disk_gib                  = each.value.disk_gib
  efa_network_cards         = each.value.efa_network_cards
}

module "artifact_store" {
  source = "../artifact-store"

  name                       = var.name
  bucket                     = var.bucket
  registry_lock_days         = var.registry_lock_days
  break_glass_principal_arns = var.break_glass_principal_arns
  destroy_logs               = !var.protect_data
}

module "registry" {
  source = "../registry"

  name = var.name
}

module "database" {
  source   = "../database"
  for_each = local.databases

  name                     = "${var.name}-${each.key}"
  engine                   = each.value.engine
  engine_version           = each.value.version
  database                 = each.value.database
  instance_class           = var.size.database.instance_class
  storage_gib              = var.size.database.storage_gib
  multi_az                 = var.size.database.multi_az
  backup_days              = var.size.database.backup_days
  deletion_protection      = var.protect_data
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.cluster.security_group_id
}

module "identity" {
  source = "../identity"

  name                    = var.name
  mechanism               = var.identity_mechanism
  cluster_name            = module.cluster.name
  cluster_arn             = module.cluster.arn
  oidc_issuer             = module.cluster.oidc_issuer
  bucket_arn              = module.artifact_store.bucket_arn
  kms_key_arn             = module.artifact_store.kms_key_arn
  secret_arns             = [for database in module.database : database.secret_arn]
  secret_key_arns         = [for database in module.database : database.secret_key_arn]
  operator_principal_arns = var.operator_principal_arns
}

module "budget" {
  source = "../budget"

  name           = var.name
  month_usd      = var.month_usd
  mail_addresses = var.mail_addresses
  anomaly_usd    = var.anomaly_usd
  gpu_autoscaling_groups = merge([
    for pool, made in module.gpu_pool : { for capacity, group in made.autoscaling_groups : "${pool}-${capacity}" => group }
  ]...)
  bucket                = module.artifact_store.bucket
  bucket_metrics_filter = module.artifact_store.metrics_filter
  databases             = { for name, database in module.database : name => database.identifier }
}
