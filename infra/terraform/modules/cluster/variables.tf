variable "name" {
  description = "Name of the cluster and prefix of what belongs to it."
  type        = string
}

variable "kubernetes_version" {
  description = "Kubernetes version of control plane and nodes, such as 1.35."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in at least two zones."
  type        = list(string)
}

variable "public_access_cidrs" {
  description = "Addresses that may reach the API server from the internet; empty: none, the API server answers inside the VPC only."
  type        = list(string)
  default     = []

  validation {
    condition     = !contains(var.public_access_cidrs, "0.0.0.0/0")
    error_message = "public_access_cidrs must not hold 0.0.0.0/0: name the addresses of your office or VPN."
  }
}

variable "admin_principal_arns" {
  description = "IAM roles or users that administer the cluster. Nobody else can, not even who creates it."
  type        = list(string)

  validation {
    condition     = length(var.admin_principal_arns) > 0
    error_message = "admin_principal_arns is empty: nobody could ever use the cluster. Name an IAM role."
  }
}

variable "cpu_pool" {
  description = "The pool without GPUs: instance types that may stand in for each other, smallest and largest number of nodes, root disk in GiB."
  type = object({
    instance_types = list(string)
    min_size       = number
    max_size       = number
    disk_gib       = number
  })
}

variable "addon_versions" {
  description = "Versions of EKS add-ons by name; one that is not named gets EKS's default for the Kubernetes version."
  type        = map(string)
  default     = {}
}

variable "log_retention_days" {
  description = "How long control plane logs are kept."
  type        = number
  default     = 365
}
