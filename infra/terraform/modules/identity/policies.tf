locals {
  store_policies = {
    for account, access in local.access : account => concat(
      [
        {
          Sid      = "Read"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = [for prefix in distinct(concat(access.reads, access.writes, access.deletes)) : "${var.bucket_arn}/${prefix}*"]
        },
        {
          # S3 compares a missing object's key with s3:prefix, too: without this statement "not there" would be told as 403.
          Sid       = "List"
          Effect    = "Allow"
          Action    = ["s3:ListBucket"]
          Resource  = [var.bucket_arn]
          Condition = { StringLike = { "s3:prefix" = [for prefix in distinct(concat(access.reads, access.writes, access.deletes)) : "${prefix}*"] } }
        },
        {
          Sid       = "Key"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = [var.kms_key_arn]
          Condition = { StringEquals = { "kms:ViaService" = "s3.${data.aws_region.current.name}.amazonaws.com" } }
        },
      ],
      [for prefixes in [distinct(concat(access.writes, access.deletes))] : {
        Sid      = "Write"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        Resource = [for prefix in prefixes : "${var.bucket_arn}/${prefix}*"]
      } if length(prefixes) > 0],
      [for prefixes in [access.deletes] : {
        Sid      = "Delete"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject"]
        Resource = [for prefix in prefixes : "${var.bucket_arn}/${prefix}*"]
      } if length(prefixes) > 0],
    )
  }

  cluster_policies = {
    # Hands secrets of AWS Secrets Manager to the namespaces; the databases' passwords and what is stored below the environment's name.
    "external-secrets/external-secrets" = concat(
      [{
        Sid      = "ReadSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
        Resource = concat(var.secret_arns, ["arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${var.name}/*"])
      }],
      [for keys in [var.secret_key_arns] : {
        Sid       = "DecryptSecrets"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = keys
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.region}.amazonaws.com" } }
      } if length(keys) > 0],
    )

    "kube-system/cluster-autoscaler" = [
      {
        # These actions know no resources: AWS accepts only "*" here. They read.
        Sid    = "Look"
        Effect = "Allow"
        Action = [
          "autoscaling:DescribeAutoScalingGroups",
          "autoscaling:DescribeAutoScalingInstances",
          "autoscaling:DescribeLaunchConfigurations",
          "autoscaling:DescribeScalingActivities",
          "autoscaling:DescribeTags",
          "ec2:DescribeImages",
          "ec2:DescribeInstanceTypes",
          "ec2:DescribeLaunchTemplateVersions",
          "ec2:GetInstanceTypesFromInstanceRequirements",
        ]
        Resource = "*"
      },
      {
        Sid      = "LookAtNodeGroups"
        Effect   = "Allow"
        Action   = ["eks:DescribeNodegroup"]
        Resource = ["arn:${local.partition}:eks:${local.region}:${local.account}:nodegroup/${var.cluster_name}/*"]
      },
      {
        Sid       = "Scale"
        Effect    = "Allow"
        Action    = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
        Resource  = ["arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*"]
        Condition = { StringEquals = { "aws:ResourceTag/k8s.io/cluster-autoscaler/${var.cluster_name}" = "owned" } }
      },
    ]
  }

  policies = merge(local.store_policies, local.cluster_policies)
}
