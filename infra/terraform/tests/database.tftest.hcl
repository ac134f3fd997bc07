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
  name                     = "sightline-test-db"
  database                 = "db"
  instance_class           = "db.t4g.small"
  storage_gib              = 20
  vpc_id                   = "vpc-1"
  subnet_ids               = ["subnet-a", "subnet-b"]
  client_security_group_id = "sg-nodes"
}

run "postgres_for_mlflow" {
  command = plan

  module {
    source = "./modules/database"
  }

  variables {
    engine         = "postgres"
    engine_version = "17"
  }

  assert {
    condition     = aws_db_parameter_group.this.family == "postgres17" && one([for one in aws_db_parameter_group.this.parameter : one.value if one.name == "rds.force_ssl"]) == "1"
    error_message = "PostgreSQL must refuse connections without TLS."
  }

  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot
    error_message = "By default the database survives the loss of a zone and of a person's attention."
  }
}

run "mysql_for_kubeflow_pipelines" {
  command = plan

  module {
    source = "./modules/database"
  }

  variables {
    engine         = "mysql"
    engine_version = "8.4"
  }

  assert {
    condition     = aws_db_parameter_group.this.family == "mysql8.4" && one([for one in aws_db_parameter_group.this.parameter : one.value if one.name == "require_secure_transport"]) == "1"
    error_message = "MySQL must refuse connections without TLS."
  }

  assert {
    condition     = alltrue([for rule in aws_security_group.this.ingress : rule.from_port == 3306 && rule.security_groups == toset(["sg-nodes"]) && rule.cidr_blocks == null])
    error_message = "Only the nodes may connect."
  }
}

run "another_engine_is_refused" {
  command = plan

  module {
    source = "./modules/database"
  }

  variables {
    engine         = "oracle"
    engine_version = "19"
  }

  expect_failures = [var.engine]
}
