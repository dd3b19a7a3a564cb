variable "name" {
  description = "Prefix of every resource's name."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the database."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, at least two zones."
  type        = list(string)
}

variable "client_security_group_id" {
  description = "Security group of the api's tasks, the only clients. Edges never open a Postgres connection."
  type        = string
}

variable "engine_version" {
  description = "PostgreSQL version, major or major.minor, such as \"17\"."
  type        = string
}

variable "instance_class" {
  description = "RDS instance class, such as db.t4g.medium."
  type        = string
}

variable "allocated_storage" {
  description = "Storage at the start, in GiB."
  type        = number
}

variable "max_allocated_storage" {
  description = "Storage up to which RDS may grow by itself, in GiB."
  type        = number
}

variable "multi_az" {
  description = "Keep a standby in another zone."
  type        = bool
}

variable "backup_retention_days" {
  description = "Days for which the database can be restored to any point in time, 1 to 35."
  type        = number

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 1 to 35."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the database."
  type        = bool
}

variable "password_rotation_schedule" {
  description = "When RDS changes the password: a Secrets Manager schedule, such as cron(0 3 ? * SUN#1 *)."
  type        = string
}
