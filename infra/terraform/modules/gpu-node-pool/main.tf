# GPU nodes: no node while nothing is queued; spot first, on-demand where there is no spot capacity.

locals {
  taints = {
    gpu  = { key = "nvidia.com/gpu", value = "true" }
    spot = { key = "sightline.dev/spot", value = "true" }
  }

  # EFA has no spare zone: nodes that talk over it must be in one subnet.
  subnet_ids = var.efa_network_cards > 0 ? slice(var.subnet_ids, 0, 1) : var.subnet_ids

  capacities = {
    for capacity, pool in {
      spot      = { type = "SPOT", max_size = var.max_spot_nodes, taints = [local.taints.gpu, local.taints.spot] }
      on-demand = { type = "ON_DEMAND", max_size = var.max_on_demand_nodes, taints = [local.taints.gpu] }
    } : capacity => merge(pool, { labels = { "sightline.dev/pool" = "gpu", "sightline.dev/capacity" = capacity } }) if pool.max_size > 0
  }
}

resource "aws_placement_group" "efa" {
  count = var.efa_network_cards > 0 ? 1 : 0

  name     = "${var.name}-efa"
  strategy = "cluster"
}

# EFA traffic bypasses the IP stack; it needs a group that lets itself in and out.
resource "aws_security_group" "efa" {
  count = var.efa_network_cards > 0 ? 1 : 0

  name        = "${var.name}-efa"
  description = "EFA traffic among the nodes of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-efa" }

  ingress {
    description = "from each other"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    self        = true
  }

  egress {
    description = "to each other"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    self        = true
  }
}

resource "aws_launch_template" "this" {
  name                   = var.name
  update_default_version = true

  # With interfaces of its own the template must name the groups; without them EKS attaches the cluster's group.
  dynamic "network_interfaces" {
    for_each = range(var.efa_network_cards)
    content {
      network_card_index    = network_interfaces.value
      device_index          = network_interfaces.value == 0 ? 0 : 1
      interface_type        = "efa"
      delete_on_termination = true
      security_groups       = [var.cluster_security_group_id, aws_security_group.efa[0].id]
    }
  }

  dynamic "placement" {
    for_each = aws_placement_group.efa
    content {
      group_name = placement.value.name
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type           = "gp3"
      volume_size           = var.disk_gib
      iops                  = 4000
      throughput            = 250
      encrypted             = true
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = var.name }
  }
}

resource "aws_eks_node_group" "this" {
  for_each = local.capacities

  cluster_name    = var.cluster_name
  node_group_name = "${var.name}-${each.key}"
  node_role_arn   = var.node_role_arn
  subnet_ids      = local.subnet_ids
  version         = var.kubernetes_version
  ami_type        = "AL2023_x86_64_NVIDIA"
  capacity_type   = each.value.type
  instance_types  = var.instance_types

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  scaling_config {
    min_size     = 0
    max_size     = each.value.max_size
    desired_size = 0
  }

  update_config {
    max_unavailable = 1
  }

  labels = each.value.labels

  dynamic "taint" {
    for_each = each.value.taints
    content {
      key    = taint.value.key
      value  = taint.value.value
      effect = "NO_SCHEDULE"
    }
  }

  # The autoscaler owns the number of nodes.
  lifecycle {
    ignore_changes = [scaling_config[0].desired_size]
  }
}
