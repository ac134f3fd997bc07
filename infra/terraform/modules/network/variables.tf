variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "cluster_name" {
  description = "EKS cluster that uses the subnets; load balancers find them by this tag."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC, a /16."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "cidr must be a /16 such as 10.20.0.0/16: pods take one address each."
  }
}

variable "zones" {
  description = "Availability zones, two to seven; EKS and RDS need two."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 7
    error_message = "zones must name two to seven availability zones."
  }
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone (survives the loss of one) instead of one for all (a third of the price)."
  type        = bool
}

variable "interface_endpoints" {
  description = "AWS services reached without NAT, by the last part of their endpoint name, such as ecr.api, ecr.dkr, sts, logs. Each costs per hour and zone."
  type        = list(string)
  default     = []
}

variable "log_retention_days" {
  description = "How long flow logs are kept."
  type        = number
  default     = 365
}
