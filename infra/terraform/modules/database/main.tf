# A small managed database: private, encrypted, TLS only, a password that nobody knows and that is rotated, backups, no accidental deletion.

data "aws_partition" "current" {}

locals {
  engines = {
    postgres = {
      port       = 5432
      logs       = ["postgresql", "upgrade"]
      parameters = { "rds.force_ssl" = "1", log_statement = "ddl", log_min_duration_statement = "1000" }
    }
    mysql = {
      port       = 3306
      logs       = ["error", "slowquery"]
      parameters = { require_secure_transport = "1", slow_query_log = "1", long_query_time = "1" }
    }
  }
  engine = local.engines[var.engine]
  major  = var.engine == "mysql" ? join(".", slice(split(".", var.engine_version), 0, 2)) : split(".", var.engine_version)[0]
}

module "key" {
  source = "../key"

  name        = var.name
  description = "Data, password and metrics of the database ${var.name}"
  services    = ["rds.amazonaws.com", "secretsmanager.amazonaws.com"]
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "this" {
  name        = var.name
  description = "Connections to ${var.name} from the nodes of the cluster"
  vpc_id      = var.vpc_id
  tags        = { Name = var.name }

  ingress {
    description     = "from the nodes"
    from_port       = local.engine.port
    to_port         = local.engine.port
    protocol        = "tcp"
    security_groups = [var.client_security_group_id]
  }
}

resource "aws_db_parameter_group" "this" {
  name   = var.name
  family = "${var.engine}${local.major}"

  dynamic "parameter" {
    for_each = local.engine.parameters
    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_iam_role" "monitoring" {
  name = "${var.name}-monitoring"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

resource "aws_db_instance" "this" {
  identifier     = var.name
  engine         = var.engine
  engine_version = var.engine_version
  instance_class = var.instance_class
  db_name        = var.database
  port           = local.engine.port

  username                            = "sightline"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = module.key.arn
  iam_database_authentication_enabled = true

  storage_type          = "gp3"
  allocated_storage     = var.storage_gib
  max_allocated_storage = var.storage_gib * 5
  storage_encrypted     = true
  kms_key_id            = module.key.arn

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  parameter_group_name   = aws_db_parameter_group.this.name
  publicly_accessible    = false
  multi_az               = var.multi_az

  backup_retention_period   = var.backup_days
  copy_tags_to_snapshot     = true
  delete_automated_backups  = false
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = !var.deletion_protection
  final_snapshot_identifier = var.deletion_protection ? "${var.name}-final" : null

  auto_minor_version_upgrade      = true
  apply_immediately               = false
  enabled_cloudwatch_logs_exports = local.engine.logs
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.monitoring.arn
  performance_insights_enabled    = true
  performance_insights_kms_key_id = module.key.arn

  depends_on = [aws_iam_role_policy_attachment.monitoring]
}
