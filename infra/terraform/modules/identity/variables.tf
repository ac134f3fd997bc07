variable "name" {
  description = "Prefix of the roles, and of the secrets that External Secrets may read."
  type        = string
}

variable "mechanism" {
  description = "How a pod gets its role: pod-identity or irsa."
  type        = string
  default     = "pod-identity"

  validation {
    condition     = contains(["pod-identity", "irsa"], var.mechanism)
    error_message = "mechanism must be pod-identity or irsa."
  }
}

variable "cluster_name" {
  description = "EKS cluster of the accounts."
  type        = string
}

variable "cluster_arn" {
  description = "ARN of the cluster."
  type        = string
}

variable "oidc_issuer" {
  description = "Issuer of service account tokens; used by irsa only."
  type        = string
}

variable "bucket_arn" {
  description = "The bucket of the artifacts."
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the bucket's objects."
  type        = string
}

variable "secret_arns" {
  description = "Secrets that External Secrets hands to the cluster, besides those below <name>/."
  type        = list(string)
  default     = []
}

variable "secret_key_arns" {
  description = "Keys of these secrets."
  type        = list(string)
  default     = []
}

variable "operator_principal_arns" {
  description = "People who approve, override, audit and roll back from their own machine; a second factor is needed. Empty: nobody."
  type        = list(string)
  default     = []
}
