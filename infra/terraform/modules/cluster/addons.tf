# Add-ons that nodes need to become ready come before the nodes, those that need nodes come after them.

locals {
  before_nodes = {
    # Without this setting the NetworkPolicies of the manifests would be accepted and do nothing.
    vpc-cni                = { configuration = { enableNetworkPolicy = "true" }, service_account = "aws-node" }
    kube-proxy             = { configuration = {}, service_account = "" }
    eks-pod-identity-agent = { configuration = {}, service_account = "" }
  }
  after_nodes = {
    coredns            = { configuration = {}, service_account = "" }
    aws-ebs-csi-driver = { configuration = {}, service_account = "ebs-csi-controller-sa" }
    metrics-server     = { configuration = {}, service_account = "" }
  }
  addon_policies = {
    vpc-cni            = "${local.policies}/AmazonEKS_CNI_Policy"
    aws-ebs-csi-driver = "${local.policies}/service-role/AmazonEBSCSIDriverPolicy"
  }
}

resource "aws_iam_role" "addon" {
  for_each = local.addon_policies

  name = "${var.name}-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Condition = { ArnEquals = { "aws:RequestTag/eks-cluster-arn" = aws_eks_cluster.this.arn } }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "addon" {
  for_each = local.addon_policies

  role       = aws_iam_role.addon[each.key].name
  policy_arn = each.value
}

resource "aws_eks_addon" "before_nodes" {
  for_each = local.before_nodes

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = lookup(var.addon_versions, each.key, null)
  configuration_values        = length(each.value.configuration) > 0 ? jsonencode(each.value.configuration) : null
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  dynamic "pod_identity_association" {
    for_each = each.value.service_account == "" ? [] : [each.value.service_account]
    content {
      service_account = pod_identity_association.value
      role_arn        = aws_iam_role.addon[each.key].arn
    }
  }

  depends_on = [aws_iam_role_policy_attachment.addon]
}

resource "aws_eks_addon" "after_nodes" {
  for_each = local.after_nodes

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = lookup(var.addon_versions, each.key, null)
  configuration_values        = length(each.value.configuration) > 0 ? jsonencode(each.value.configuration) : null
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  dynamic "pod_identity_association" {
    for_each = each.value.service_account == "" ? [] : [each.value.service_account]
    content {
      service_account = pod_identity_association.value
      role_arn        = aws_iam_role.addon[each.key].arn
    }
  }

  depends_on = [aws_iam_role_policy_attachment.addon, aws_eks_node_group.cpu]
}
