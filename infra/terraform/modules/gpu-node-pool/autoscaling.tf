# A pool of zero nodes cannot be looked at: the autoscaler learns from these tags what a node of it would offer.

locals {
  template = "k8s.io/cluster-autoscaler/node-template"

  offers = merge(
    {
      "k8s.io/cluster-autoscaler/enabled"             = "true"
      "k8s.io/cluster-autoscaler/${var.cluster_name}" = "owned"
      "${local.template}/resources/nvidia.com/gpu"    = tostring(var.gpus_per_node)
      "${local.template}/resources/ephemeral-storage" = "${var.disk_gib}Gi"
    },
    var.efa_network_cards > 0 ? { "${local.template}/resources/vpc.amazonaws.com/efa" = tostring(var.efa_network_cards) } : {},
  )

  scaling_tags = merge([
    for capacity, pool in local.capacities : {
      for key, value in merge(
        local.offers,
        { for label, text in pool.labels : "${local.template}/label/${label}" => text },
        { for taint in pool.taints : "${local.template}/taint/${taint.key}" => "${taint.value}:NoSchedule" },
      ) : "${capacity} ${key}" => { capacity = capacity, key = key, value = value }
    }
  ]...)
}

resource "aws_autoscaling_group_tag" "this" {
  for_each = local.scaling_tags

  autoscaling_group_name = aws_eks_node_group.this[each.value.capacity].resources[0].autoscaling_groups[0].name

  tag {
    key                 = each.value.key
    value               = each.value.value
    propagate_at_launch = false
  }
}
