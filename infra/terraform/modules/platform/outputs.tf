locals {
  table = yamldecode(file("${path.module}/../../prices.yaml"))

  # The first instance type of a pool stands for the pool: the others may take its place and cost about the same.
  pool_types = merge({ cpu = var.size.cpu_pool.instance_types[0] }, { for name, pool in var.size.gpu_pools : name => pool.instance_types[0] })
}

output "settings" {
  description = "What the kustomize overlay needs, as strings: written to its settings.env."
  value = merge(
    {
      environment            = var.name
      region                 = data.aws_region.current.name
      account_id             = data.aws_caller_identity.current.account_id
      cluster_name           = module.cluster.name
      cluster_endpoint       = module.cluster.endpoint
      registry_prefix        = module.registry.prefix
      registry_host          = module.registry.host
      registry_path          = var.name
      bucket                 = module.artifact_store.bucket
      kms_key_arn            = module.artifact_store.kms_key_arn
      alarm_topic_arn        = module.budget.topic_arn
      vpc_cidr               = module.network.cidr
      mlflow_database_host   = module.database["mlflow"].host
      mlflow_database_port   = tostring(module.database["mlflow"].port)
      mlflow_database_name   = module.database["mlflow"].database
      mlflow_database_secret = module.database["mlflow"].secret_arn
    },
    var.size.kfp_database ? {
      kfp_database_host   = module.database["kfp"].host
      kfp_database_port   = tostring(module.database["kfp"].port)
      kfp_database_name   = module.database["kfp"].database
      kfp_database_secret = module.database["kfp"].secret_arn
    } : {},
    { for account, arn in module.identity.role_arns : "role_arn_${replace(split("/", account)[1], "-", "_")}" => arn },
  )
}

output "prices" {
  description = "The prices file of the library: write it as YAML and name it in cluster.prices."
  value = {
    currency = local.table.currency
    pools = {
      for pool, type in local.pool_types : pool => lookup(var.prices, pool, {
        per_hour      = local.table.instances[type].per_hour
        spot_per_hour = local.table.instances[type].spot_per_hour
        gpus          = local.table.instances[type].gpus
      })
    }
  }
}

output "kubeconfig_command" {
  description = "Run this once to reach the cluster with kubectl."
  value       = "aws eks update-kubeconfig --region ${data.aws_region.current.name} --name ${module.cluster.name}"
}
