variable "region" {
  description = "AWS region."
  type        = string
  default     = "us-east-1"
}

variable "bucket" {
  description = "Name of the artifact bucket, unique in the world, such as <company>-sightline-prod."
  type        = string
}

variable "admin_principal_arns" {
  description = "IAM roles or users that administer the cluster; nobody else can."
  type        = list(string)
}

variable "operator_principal_arns" {
  description = "IAM roles or users of people who approve, override, audit and roll back."
  type        = list(string)
  default     = []
}

variable "public_access_cidrs" {
  description = "Addresses that may reach the API server from the internet, such as your VPN's; empty: reachable inside the VPC only."
  type        = list(string)
  default     = []
}

variable "mail_addresses" {
  description = "Who is told about costs and alarms."
  type        = list(string)
}

variable "prices" {
  description = "Price of each pool per hour, where yours differ from infra/terraform/prices.yaml."
  type = map(object({
    per_hour      = number
    spot_per_hour = number
    gpus          = number
  }))
  default = {}
}

variable "break_glass_principal_arns" {
  description = "Who may assume the role that can delete from the registry; empty: whoever the account's administrators allow to."
  type        = list(string)
  default     = []
}
