variable "name" {
  description = "Alias of the key, without the leading alias/."
  type        = string
}

variable "description" {
  description = "What the key encrypts."
  type        = string
}

variable "services" {
  description = "AWS service principals that may use the key on behalf of this account."
  type        = list(string)
  default     = []
}

variable "log_group_prefixes" {
  description = "CloudWatch Logs may use the key for log groups whose names start with one of these; at most one."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.log_group_prefixes) <= 1
    error_message = "log_group_prefixes takes at most one prefix: a key has one purpose."
  }
}
