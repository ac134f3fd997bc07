# Money and machines that run for nothing: told by mail before the bill tells it.

data "aws_caller_identity" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  senders = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com", "costalerts.amazonaws.com"]
}

module "key" {
  source = "../key"

  name        = "${var.name}-alarms"
  description = "Alarms of ${var.name}"
  services    = concat(local.senders, ["sns.amazonaws.com"])
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = module.key.arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AwsTellsUs"
      Effect    = "Allow"
      Principal = { Service = local.senders }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_sns_topic_subscription" "mail" {
  for_each = toset(var.mail_addresses)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_budgets_budget" "month" {
  name         = "${var.name}-month"
  budget_type  = "COST"
  limit_amount = tostring(var.month_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  # Only what carries the environment's tag; the tag has to be activated once as a cost allocation tag.
  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:environment$%s", var.name)]
  }

  dynamic "notification" {
    for_each = {
      half      = { share = 50, kind = "ACTUAL" }
      most      = { share = 80, kind = "ACTUAL" }
      all       = { share = 100, kind = "ACTUAL" }
      foreseen  = { share = 100, kind = "FORECASTED" }
      exploding = { share = 150, kind = "FORECASTED" }
    }
    content {
      comparison_operator       = "GREATER_THAN"
      threshold                 = notification.value.share
      threshold_type            = "PERCENTAGE"
      notification_type         = notification.value.kind
      subscriber_sns_topic_arns = [aws_sns_topic.alarms.arn]
    }
  }

  depends_on = [aws_sns_topic_policy.alarms]
}

# One monitor per account is what AWS allows for all services together, so only one environment of an account has it.
resource "aws_ce_anomaly_monitor" "services" {
  count = var.anomaly_usd > 0 ? 1 : 0

  name              = "${var.name}-services"
  monitor_type      = "DIMENSIONAL"
  monitor_dimension = "SERVICE"
}

resource "aws_ce_anomaly_subscription" "services" {
  count = var.anomaly_usd > 0 ? 1 : 0

  name             = "${var.name}-services"
  frequency        = "IMMEDIATE"
  monitor_arn_list = [aws_ce_anomaly_monitor.services[0].arn]

  subscriber {
    type    = "SNS"
    address = aws_sns_topic.alarms.arn
  }

  threshold_expression {
    dimension {
      key           = "ANOMALY_TOTAL_IMPACT_ABSOLUTE"
      match_options = ["GREATER_THAN_OR_EQUAL"]
      values        = [tostring(var.anomaly_usd)]
    }
  }

  depends_on = [aws_sns_topic_policy.alarms]
}
