variable "name" {
  description = "Prefix of every name but the bucket's."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket, unique in the world; its access logs go to <bucket>-logs."
  type        = string
}

variable "write_once_prefixes" {
  description = "Below registry/: records that are created once and never replaced. The library writes them with If-None-Match only."
  type        = list(string)
  default     = ["ledger/", "looks/", "audits/", "overrides/", "approvals/", "golden/", "retrains/"]
}

variable "cache_days" {
  description = "Finished steps are kept this long; an older one runs again when it is needed."
  type        = number
  default     = 90
}

variable "jobs_days" {
  description = "Checkpoints and staging of distributed jobs are kept this long."
  type        = number
  default     = 14
}

variable "old_version_days" {
  description = "Overwritten and deleted versions are kept this long, everywhere but in registry/, where they are kept for ever."
  type        = number
  default     = 30
}

variable "log_retention_days" {
  description = "Access logs are kept this long."
  type        = number
  default     = 365
}

variable "registry_lock_days" {
  description = "Object Lock (governance mode): no version can be removed for this many days. It is a property of the bucket and cannot be taken back; 0: none."
  type        = number
  default     = 0
}

variable "break_glass_principal_arns" {
  description = "Who may assume the role that can delete from the registry; empty: whoever the account's administrators allow to. A second factor is always needed."
  type        = list(string)
  default     = []
}

variable "destroy_logs" {
  description = "Whether terraform destroy may delete a log bucket that is not empty."
  type        = bool
  default     = false
}
