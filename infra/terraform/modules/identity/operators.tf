# A person's decisions are records in the registry. No step may write them, so no step can approve itself.

resource "aws_iam_role" "operator" {
  count = length(var.operator_principal_arns) > 0 ? 1 : 0

  name        = "${var.name}-operator"
  description = "Approves, overrides, audits and rolls back models of ${var.cluster_name}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = var.operator_principal_arns }
      Action    = "sts:AssumeRole"
      Condition = { Bool = { "aws:MultiFactorAuthPresent" = "true" } }
    }]
  })
}

resource "aws_iam_role_policy" "operator" {
  count = length(var.operator_principal_arns) > 0 ? 1 : 0

  name = "decide"
  role = aws_iam_role.operator[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [for prefix in ["registry/", "runs/", "cache/"] : "${var.bucket_arn}/${prefix}*"]
      },
      {
        Sid       = "List"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [var.bucket_arn]
        Condition = { StringLike = { "s3:prefix" = ["registry/*", "runs/*", "cache/*"] } }
      },
      {
        Sid    = "Decide"
        Effect = "Allow"
        Action = ["s3:PutObject"]
        # ledger/: a rollback is a new generation.
        Resource = [for prefix in ["approvals/", "overrides/", "audits/", "ledger/"] : "${var.bucket_arn}/registry/${prefix}*"]
      },
      {
        Sid       = "Key"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.kms_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
      },
    ]
  })
}
