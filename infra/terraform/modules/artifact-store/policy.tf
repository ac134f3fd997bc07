# What nobody may do, whatever their own policies allow.

locals {
  objects = "${aws_s3_bucket.this.arn}/*"

  tls_only = {
    Sid       = "TlsOnly"
    Effect    = "Deny"
    Principal = { AWS = "*" }
    Action    = "s3:*"
    Resource  = [aws_s3_bucket.this.arn, local.objects]
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  }

  # A request that names no encryption gets the bucket's default, which is our key. Without Null the statements would deny it, too: a
  # negated operator holds for a key that is not there.
  our_key_only = [
    {
      Sid       = "NoOtherEncryption"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "s3:PutObject"
      Resource  = local.objects
      Condition = {
        Null            = { "s3:x-amz-server-side-encryption" = "false" }
        StringNotEquals = { "s3:x-amz-server-side-encryption" = "aws:kms" }
      }
    },
    {
      Sid       = "NoOtherKey"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "s3:PutObject"
      Resource  = local.objects
      Condition = {
        Null            = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = "false" }
        StringNotEquals = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = module.key.arn }
      }
    },
  ]

  # PutObject and CompleteMultipartUpload without If-None-Match could replace a record. The parts of a multipart upload cannot carry the
  # header and create nothing by themselves: s3:ObjectCreationOperation is false for them.
  write_once = {
    Sid       = "WriteOnce"
    Effect    = "Deny"
    Principal = { AWS = "*" }
    Action    = "s3:PutObject"
    Resource  = [for prefix in var.write_once_prefixes : "${local.registry}/${prefix}*"]
    Condition = {
      Null = { "s3:if-none-match" = "true" }
      Bool = { "s3:ObjectCreationOperation" = "true" }
    }
  }

  keep_registry = {
    Sid       = "KeepRegistry"
    Effect    = "Deny"
    Principal = { AWS = "*" }
    Action = [
      "s3:DeleteObject",
      "s3:DeleteObjectVersion",
      "s3:PutObjectRetention",
      "s3:BypassGovernanceRetention",
    ]
    Resource  = "${local.registry}/*"
    Condition = { ArnNotEquals = { "aws:PrincipalArn" = aws_iam_role.break_glass.arn } }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat([local.tls_only, local.write_once, local.keep_registry], local.our_key_only)
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}

# The only way to remove something from the registry: a person, with a second factor, for an hour, visible in CloudTrail.
resource "aws_iam_role" "break_glass" {
  name                 = "${var.name}-break-glass"
  description          = "Repairs the registry by hand"
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = length(var.break_glass_principal_arns) > 0 ? var.break_glass_principal_arns : ["${local.iam}:root"] }
      Action    = "sts:AssumeRole"
      Condition = { Bool = { "aws:MultiFactorAuthPresent" = "true" } }
    }]
  })
}

resource "aws_iam_role_policy" "break_glass" {
  name = "repair-registry"
  role = aws_iam_role.break_glass.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Action = [
          "s3:GetObject",
          "s3:GetObjectVersion",
          "s3:PutObject",
          "s3:DeleteObject",
          "s3:DeleteObjectVersion",
          "s3:PutObjectRetention",
          "s3:BypassGovernanceRetention",
        ]
        Resource = ["${local.registry}/*"]
      },
      {
        Effect    = "Allow"
        Action    = ["s3:ListBucket", "s3:ListBucketVersions"]
        Resource  = [aws_s3_bucket.this.arn]
        Condition = { StringLike = { "s3:prefix" = ["registry/*"] } }
      },
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = [module.key.arn]
      },
    ]
  })
}
