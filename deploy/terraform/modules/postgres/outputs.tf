output "url" {
  description = "DATABASE_URL without the password, which comes as PGPASSWORD."
  value       = "postgres://${aws_db_instance.this.username}@${aws_db_instance.this.endpoint}/${aws_db_instance.this.db_name}?sslmode=verify-full&sslrootcert=/etc/ssl/rds.pem"
}

output "password_secret_arn" {
  description = "Secret with the JSON keys username and password, made and rotated by RDS."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "identifier" {
  description = "Identifier of the database instance."
  value       = aws_db_instance.this.identifier
}
