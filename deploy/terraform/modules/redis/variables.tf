variable "name" {
  description = "Prefix of every resource's name; at most 30 characters."
  type        = string

  validation {
    condition     = length(var.name) <= 30
    error_message = "name must be at most 30 characters: ElastiCache allows 40 for a replication group."
  }
}

variable "vpc_id" {
  description = "VPC of the cache nodes."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, one in each zone."
  type        = list(string)
}

variable "client_security_group_ids" {
  description = "Security groups that may connect, by a name of our own: the edges and the api."
  type        = map(string)
}

variable "engine_version" {
  description = "Redis version, such as \"7.1\"."
  type        = string
}

variable "node_type" {
  description = "ElastiCache node type, such as cache.t4g.small."
  type        = string
}

variable "nodes" {
  description = "Primary and replicas together. From two on, a replica takes over when the primary is lost."
  type        = number

  validation {
    condition     = var.nodes >= 1 && var.nodes <= 6
    error_message = "nodes must be 1 to 6."
  }
}

variable "user_id" {
  description = "Id of the ElastiCache user of the product, made out of band with its password (see deploy/terraform/README.md)."
  type        = string
}

variable "snapshot_retention_days" {
  description = "Days for which daily snapshots are kept; 0 = none."
  type        = number
}
