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
  name         = "sightline-test"
  cluster_name = "sightline-test"
  cidr         = "10.40.0.0/16"
  zones        = ["us-east-1a", "us-east-1b", "us-east-1c"]
  nat_per_zone = true
}

run "a_nat_gateway_per_zone_and_no_overlapping_subnets" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_vpc_endpoint.interface) == 0
    error_message = "Each zone must reach the internet by itself."
  }

  assert {
    condition     = [for subnet in aws_subnet.private : subnet.cidr_block] == ["10.40.0.0/19", "10.40.32.0/19", "10.40.64.0/19"]
    error_message = "Private subnets must be large: each pod takes an address."
  }

  assert {
    condition     = [for subnet in aws_subnet.public : subnet.cidr_block] == ["10.40.224.0/24", "10.40.225.0/24", "10.40.226.0/24"]
    error_message = "Public subnets must lie behind all private ones."
  }
}

run "interface_endpoints_answer_the_vpc_only" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    interface_endpoints = ["ecr.api", "sts"]
  }

  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["ecr.api", "sts"] && alltrue([for rule in aws_security_group.endpoints[0].ingress : rule.cidr_blocks == tolist(["10.40.0.0/16"]) && rule.from_port == 443])
    error_message = "Endpoints must take HTTPS from inside the VPC and nothing else."
  }
}

run "one_zone_is_refused" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    zones = ["us-east-1a"]
  }

  expect_failures = [var.zones]
}
