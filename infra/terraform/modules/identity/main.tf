# One role per ServiceAccount. EKS Pod Identity by default; IRSA where pods run outside EKS nodes that have the agent.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name
  irsa      = var.mechanism == "irsa"
  issuer    = trimprefix(var.oidc_issuer, "https://")

  accounts = {
    for account in keys(local.policies) : account => {
      namespace = split("/", account)[0]
      name      = split("/", account)[1]
      role      = "${var.name}-${trimprefix(split("/", account)[1], "sightline-")}"
    }
  }

  # The agent tells STS which account asks, in which cluster: a role can be used by its own account only.
  pod_identity_trust = {
    for key, account in local.accounts : key => {
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Condition = {
        StringEquals = {
          "aws:RequestTag/kubernetes-namespace"       = account.namespace
          "aws:RequestTag/kubernetes-service-account" = account.name
        }
        ArnEquals = { "aws:RequestTag/eks-cluster-arn" = var.cluster_arn }
      }
    }
  }

  irsa_trust = {
    for key, account in local.accounts : key => {
      Effect    = "Allow"
      Principal = { Federated = "arn:${local.partition}:iam::${local.account}:oidc-provider/${local.issuer}" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "${local.issuer}:sub" = "system:serviceaccount:${account.namespace}:${account.name}"
          "${local.issuer}:aud" = "sts.amazonaws.com"
        }
      }
    }
  }
}

resource "aws_iam_openid_connect_provider" "cluster" {
  count = local.irsa ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "account" {
  for_each = local.accounts

  name        = each.value.role
  description = "ServiceAccount ${each.value.name} in ${each.value.namespace} of ${var.cluster_name}"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [jsondecode(local.irsa ? jsonencode(local.irsa_trust[each.key]) : jsonencode(local.pod_identity_trust[each.key]))]
  })

  depends_on = [aws_iam_openid_connect_provider.cluster]
}

resource "aws_iam_role_policy" "account" {
  for_each = local.accounts

  name = "own-prefixes"
  role = aws_iam_role.account[each.key].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = local.policies[each.key]
  })
}

resource "aws_eks_pod_identity_association" "account" {
  for_each = local.irsa ? {} : local.accounts

  cluster_name    = var.cluster_name
  namespace       = each.value.namespace
  service_account = each.value.name
  role_arn        = aws_iam_role.account[each.key].arn
}
