variable "name" {
  description = "The environment; prefix of every name and value of the tag environment."
  type        = string
}

variable "month_usd" {
  description = "What the environment may cost in a month."
  type        = number
}

variable "mail_addresses" {
  description = "Who is told; each address confirms once."
  type        = list(string)
}

variable "anomaly_usd" {
  description = "An unusual rise of a service's cost by at least this much is told; 0: no anomaly detection. Only in one environment of an account."
  type        = number
  default     = 0
}

variable "gpu_autoscaling_groups" {
  description = "Auto Scaling groups of the GPU pools by a short name."
  type        = map(string)
}

variable "gpu_idle_hours" {
  description = "GPU nodes may idle this long."
  type        = number
  default     = 2
}

variable "gpu_long_hours" {
  description = "GPU nodes may run this long without a break, at most 168."
  type        = number
  default     = 24
}

variable "idle_cpu_percent" {
  description = "Nodes below this average CPU use are idle."
  type        = number
  default     = 5
}

variable "bucket" {
  description = "The bucket whose errors are watched."
  type        = string
}

variable "bucket_metrics_filter" {
  description = "Name of the bucket's request metrics."
  type        = string
}

variable "databases" {
  description = "Identifiers of database instances by a short name."
  type        = map(string)
}
