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
  name                 = "sightline-test"
  kubernetes_version   = "1.35"
  subnet_ids           = ["subnet-a", "subnet-b"]
  admin_principal_arns = ["arn:aws:iam::123456789012:role/admin"]
  cpu_pool             = { instance_types = ["m6i.xlarge"], min_size = 2, max_size = 4, disk_gib = 80 }
}

run "private_by_default" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "The API server must answer inside the VPC only."
  }

  assert {
    condition     = !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "Whoever creates the cluster must not stay its administrator."
  }
}

run "public_for_named_addresses" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    public_access_cidrs = ["203.0.113.0/24"]
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "Only the named addresses may reach the API server."
  }
}

run "the_whole_internet_is_refused" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    public_access_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.public_access_cidrs]
}

run "a_cluster_that_nobody_can_use_is_refused" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    admin_principal_arns = []
  }

  expect_failures = [var.admin_principal_arns]
}
