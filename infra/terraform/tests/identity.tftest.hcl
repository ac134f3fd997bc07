mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::123456789012:role/mock"
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
  name         = "sightline-test"
  cluster_name = "sightline-test"
  cluster_arn  = "arn:aws:eks:us-east-1:123456789012:cluster/sightline-test"
  oidc_issuer  = "https://oidc.eks.us-east-1.amazonaws.com/id/ABC"
  bucket_arn   = "arn:aws:s3:::acme"
  kms_key_arn  = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
}

run "pod_identity" {
  module {
    source = "./modules/identity"
  }

  assert {
    condition     = length(aws_eks_pod_identity_association.account) == length(aws_iam_role.account) && length(aws_iam_openid_connect_provider.cluster) == 0
    error_message = "Each account must be associated with its role, and no token issuer be trusted."
  }

  assert {
    condition     = length(aws_iam_role.operator) == 0
    error_message = "Without named people there must be no role for them."
  }
}

run "irsa_pins_subject_and_audience" {
  module {
    source = "./modules/identity"
  }

  variables {
    mechanism = "irsa"
  }

  assert {
    condition     = length(aws_eks_pod_identity_association.account) == 0 && length(aws_iam_openid_connect_provider.cluster) == 1
    error_message = "An account must get its role in one way only."
  }

  assert {
    condition = jsondecode(aws_iam_role.account["sightline/sightline-train"].assume_role_policy).Statement[0].Condition.StringEquals == {
      "oidc.eks.us-east-1.amazonaws.com/id/ABC:sub" = "system:serviceaccount:sightline:sightline-train"
      "oidc.eks.us-east-1.amazonaws.com/id/ABC:aud" = "sts.amazonaws.com"
    }
    error_message = "A role must be for one ServiceAccount and for AWS only."
  }
}

run "another_mechanism_is_refused" {
  command = plan

  module {
    source = "./modules/identity"
  }

  variables {
    mechanism = "instance-profile"
  }

  expect_failures = [var.mechanism]
}
