variable "name" {
  description = "Name of the environment and prefix of every name, such as sightline-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name must be 2 to 31 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "size" {
  description = "How much of everything: envs/<environment>/size.yaml."
  type = object({
    kubernetes_version  = string
    zones               = list(string)
    nat_per_zone        = bool
    interface_endpoints = list(string)
    kfp_database        = bool
    cpu_pool = object({
      instance_types = list(string)
      min_size       = number
      max_size       = number
      disk_gib       = number
    })
    gpu_pools = map(object({
      instance_types      = list(string)
      gpus_per_node       = number
      max_spot_nodes      = number
      max_on_demand_nodes = number
      disk_gib            = number
      efa_network_cards   = number
    }))
    database = object({
      instance_class = string
      storage_gib    = number
      multi_az       = bool
      backup_days    = number
    })
  })
}

variable "cidr" {
  description = "Addresses of the VPC, a /16 that nothing it is peered with uses."
  type        = string
}

variable "bucket" {
  description = "Name of the artifact bucket, unique in the world."
  type        = string
}

variable "admin_principal_arns" {
  description = "IAM roles or users that administer the cluster."
  type        = list(string)
}

variable "public_access_cidrs" {
  description = "Addresses that may reach the API server from the internet; empty: none."
  type        = list(string)
}

variable "operator_principal_arns" {
  description = "IAM roles or users of people who approve, override, audit and roll back; empty: nobody can from their own machine."
  type        = list(string)
}

variable "break_glass_principal_arns" {
  description = "Who may assume the role that can delete from the registry; empty: whoever the account's administrators allow to."
  type        = list(string)
}

variable "identity_mechanism" {
  description = "pod-identity or irsa."
  type        = string
}

variable "protect_data" {
  description = "Deletion protection and last snapshots of databases; log buckets that are not empty stay."
  type        = bool
}

variable "registry_lock_days" {
  description = "Object Lock of the bucket in days; 0: none."
  type        = number
}

variable "month_usd" {
  description = "What the environment may cost in a month."
  type        = number
}

variable "anomaly_usd" {
  description = "An unusual rise of a service's cost by at least this much is told; 0: no anomaly detection."
  type        = number
}

variable "mail_addresses" {
  description = "Who is told about costs and alarms."
  type        = list(string)
}

variable "prices" {
  description = "Price of each pool per hour, where yours differ from infra/terraform/prices.yaml: {gpu = {per_hour = 0.6, spot_per_hour = 0.3, gpus = 1}}."
  type = map(object({
    per_hour      = number
    spot_per_hour = number
    gpus          = number
  }))
}
