output "host" {
  description = "Host name."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Port."
  value       = aws_db_instance.this.port
}

output "database" {
  description = "Name of the database."
  value       = aws_db_instance.this.db_name
}

output "secret_arn" {
  description = "Secret with user name and password, rotated by RDS."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "secret_key_arn" {
  description = "Key of that secret."
  value       = module.key.arn
}

output "identifier" {
  description = "Identifier of the instance."
  value       = aws_db_instance.this.identifier
}
