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
  name                   = "sightline-test"
  month_usd              = 100
  mail_addresses         = ["ops@example.com"]
  gpu_autoscaling_groups = { gpu-spot = "eks-gpu-spot" }
  bucket                 = "acme"
  bucket_metrics_filter  = "EntireBucket"
  databases              = {}
}

run "no_anomaly_detection_unless_asked_for" {
  command = plan

  module {
    source = "./modules/budget"
  }

  assert {
    condition     = length(aws_ce_anomaly_monitor.services) == 0
    error_message = "AWS allows one such monitor per account."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.gpu_idle["gpu-spot"].period * aws_cloudwatch_metric_alarm.gpu_idle["gpu-spot"].evaluation_periods == 2 * 3600
    error_message = "GPU nodes must not idle for more than two hours unnoticed."
  }
}

run "anomalies_are_told" {
  command = plan

  module {
    source = "./modules/budget"
  }

  variables {
    anomaly_usd = 50
  }

  assert {
    condition     = aws_ce_anomaly_subscription.services[0].frequency == "IMMEDIATE" && one(aws_ce_anomaly_subscription.services[0].threshold_expression[0].dimension).values == toset(["50"])
    error_message = "An unusual rise by the amount must be told at once."
  }
}
