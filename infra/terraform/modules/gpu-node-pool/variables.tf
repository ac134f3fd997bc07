variable "name" {
  description = "Name of the pool, such as sightline-prod-gpu."
  type        = string
}

variable "cluster_name" {
  description = "EKS cluster that the nodes join."
  type        = string
}

variable "kubernetes_version" {
  description = "Kubernetes version of the nodes; that of the cluster."
  type        = string
}

variable "node_role_arn" {
  description = "Role of the nodes."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the subnets."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets; more zones find spot capacity more often. With EFA only the first one is used."
  type        = list(string)
}

variable "cluster_security_group_id" {
  description = "Security group of control plane and nodes."
  type        = string
}

variable "instance_types" {
  description = "Instance types that may stand in for each other; all must have the same number of GPUs."
  type        = list(string)
}

variable "gpus_per_node" {
  description = "GPUs of each of these instance types."
  type        = number
}

variable "max_spot_nodes" {
  description = "Largest number of spot nodes; 0: no spot pool."
  type        = number
}

variable "max_on_demand_nodes" {
  description = "Largest number of on-demand nodes; 0: no fallback pool, work waits for spot capacity."
  type        = number
}

variable "disk_gib" {
  description = "Root disk in GiB; CUDA images, data shards and checkpoints are on it."
  type        = number
}

variable "efa_network_cards" {
  description = "Network cards with an EFA interface (1 on g6.8xlarge, 4 on p4d, 32 on p5); 0: no EFA."
  type        = number
  default     = 0
}
