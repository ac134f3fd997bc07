mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::123456789012:role/mock"
    }
  }
  mock_resource "aws_kms_key" {
    defaults = {
      arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    }
  }
  mock_resource "aws_s3_bucket" {
    defaults = {
      arn = "arn:aws:s3:::acme"
    }
  }
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }
  mock_data "aws_caller_identity" {
    defaults = {
      account_id = "123456789012"
    }
  }
  mock_data "aws_region" {
    defaults = {
      name = "us-east-1"
    }
  }
}

variables {
  name   = "sightline-test"
  bucket = "acme"
}

run "no_lock_by_default" {
  module {
    source = "./modules/artifact-store"
  }

  assert {
    condition     = length(aws_s3_bucket_object_lock_configuration.this) == 0
    error_message = "Object Lock cannot be taken back, so it must be asked for."
  }

  assert {
    condition     = !aws_s3_bucket.this.force_destroy
    error_message = "A bucket with objects must survive terraform destroy."
  }

  assert {
    condition     = one([for one in jsondecode(aws_s3_bucket_policy.this.policy).Statement : one if one.Sid == "WriteOnce"]).Condition == { Null = { "s3:if-none-match" = "true" }, Bool = { "s3:ObjectCreationOperation" = "true" } }
    error_message = "Records must be written with If-None-Match only."
  }
}

run "lock" {
  module {
    source = "./modules/artifact-store"
  }

  variables {
    registry_lock_days = 365
  }

  assert {
    condition     = one(aws_s3_bucket_object_lock_configuration.this[0].rule[0].default_retention).mode == "GOVERNANCE"
    error_message = "A lock that not even the break-glass role could open would make a mistake permanent."
  }
}
