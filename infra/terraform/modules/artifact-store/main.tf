# The bucket that everything is in: cache/ runs/ registry/ jobs/ served/ data/ mlflow/ kfp/.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account  = data.aws_caller_identity.current.account_id
  iam      = "arn:${data.aws_partition.current.partition}:iam::${local.account}"
  registry = "${aws_s3_bucket.this.arn}/registry"

  # Made again at any time from data/ and the registry, so old ones go by themselves. Days since they were written.
  expiring_days = { "cache/" = var.cache_days, "jobs/" = var.jobs_days }
  # Everything but registry/: there an overwritten or deleted version is evidence and is kept.
  ordinary = ["cache/", "runs/", "jobs/", "served/", "data/", "mlflow/", "kfp/"]
}

module "key" {
  source = "../key"

  name        = "${var.name}-artifacts"
  description = "Artifacts of ${var.name}"
}

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_144:a copy in a second region doubles the price; versions protect against deletion, and data/ has a source elsewhere
  # checkov:skip=CKV2_AWS_62:nothing consumes events of this bucket; steps are started by schedules and drift
  bucket        = var.bucket
  force_destroy = false
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = true # one request to KMS per bucket and hour instead of one per object

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = module.key.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_logging" "this" {
  bucket        = aws_s3_bucket.this.id
  target_bucket = aws_s3_bucket.logs.id
  target_prefix = "${var.bucket}/"

  depends_on = [aws_s3_bucket_policy.logs]
}

# S3 knows no retention by prefix: the default holds for every new version in the bucket, also below cache/, which then costs storage until
# the days are over. GOVERNANCE, so that the break-glass role, and nobody else, can repair the registry.
resource "aws_s3_bucket_object_lock_configuration" "this" {
  count = var.registry_lock_days > 0 ? 1 : 0

  bucket = aws_s3_bucket.this.id

  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = var.registry_lock_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "abort-unfinished-uploads"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }

  dynamic "rule" {
    for_each = local.expiring_days
    content {
      id     = "expire-${trimsuffix(rule.key, "/")}"
      status = "Enabled"

      filter {
        prefix = rule.key
      }

      expiration {
        days = rule.value
      }
    }
  }

  dynamic "rule" {
    for_each = toset(local.ordinary)
    content {
      id     = "old-versions-${trimsuffix(rule.key, "/")}"
      status = "Enabled"

      filter {
        prefix = rule.key
      }

      noncurrent_version_expiration {
        noncurrent_days = var.old_version_days
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

# Needed for the alarms on errors; a filter of its own per bucket costs nothing, the metrics cost per month.
resource "aws_s3_bucket_metric" "this" {
  bucket = aws_s3_bucket.this.id
  name   = "EntireBucket"
}
