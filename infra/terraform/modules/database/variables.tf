variable "name" {
  description = "Identifier of the instance and prefix of what belongs to it."
  type        = string
}

variable "engine" {
  description = "postgres (MLflow) or mysql (Kubeflow Pipelines)."
  type        = string

  validation {
    condition     = contains(["postgres", "mysql"], var.engine)
    error_message = "engine must be postgres or mysql."
  }
}

variable "engine_version" {
  description = "Version; a major version is enough, minor upgrades are applied by themselves."
  type        = string
}

variable "database" {
  description = "Name of the database that is made."
  type        = string
}

variable "instance_class" {
  description = "Size of the instance."
  type        = string
}

variable "storage_gib" {
  description = "Storage at first; it grows by itself to five times this."
  type        = number
}

variable "multi_az" {
  description = "A second instance in another zone that takes over; twice the price."
  type        = bool
  default     = true
}

variable "backup_days" {
  description = "Days to which the database can be restored."
  type        = number
  default     = 14
}

variable "deletion_protection" {
  description = "Whether deletion is refused until this is set to false, and leaves a last snapshot."
  type        = bool
  default     = true
}

variable "vpc_id" {
  description = "VPC of the subnets."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in at least two zones."
  type        = list(string)
}

variable "client_security_group_id" {
  description = "The only security group that may connect."
  type        = string
}
