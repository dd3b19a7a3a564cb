variable "environment" {
  description = "Name of the environment, such as staging: lower case letters and digits."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,15}$", var.environment))
    error_message = "environment must be 2 to 16 lower case letters and digits, beginning with a letter."
  }
}

variable "domains" {
  description = "Public names: of the data plane (tenants are its subdomains) and of the console; and their Route 53 zone."
  type = object({
    service = string
    console = string
    zone_id = string
  })
}

variable "certificates" {
  description = "ARNs of ACM certificates, validated out of band: service covers the service domain and its wildcard."
  type = object({
    service = string
    console = string
  })
}

variable "secrets" {
  description = "ARNs of the secrets that are made out of band, never by Terraform: see deploy/terraform/README.md."
  type = object({
    fleet               = string
    fleet_former        = string # "" = none; while the secret is exchanged
    sealing_key         = string
    sealing_keys_former = string # "" = none; while the key is exchanged
    redis_url           = string
    smtp_url            = string
  })
}

variable "sign_in" {
  description = "OpenID provider with which people may sign in: issuer (empty = none), client id, name on the page, ARN of the client secret."
  type = object({
    oidc_issuer        = string
    oidc_client_id     = string
    oidc_name          = string
    oidc_client_secret = string
  })
}

variable "operator_networks" {
  description = "Private address ranges from which operators reach their listener; empty = nobody serves them."
  type        = list(string)
}

variable "images" {
  description = "The images of one release, by digest or immutable tag, and the architecture they are for."
  type = object({
    api          = string
    edge         = string
    architecture = string
  })
}

variable "network" {
  description = "Address range, zones, and whether each zone has a NAT gateway of its own."
  type = object({
    cidr_block           = string
    availability_zones   = list(string)
    nat_gateway_per_zone = bool
  })
}

variable "postgres" {
  description = "Version and size of Postgres; storage in GiB."
  type = object({
    engine_version        = string
    instance_class        = string
    allocated_storage     = number
    max_allocated_storage = number
    multi_az              = bool
    backup_retention_days = number
    deletion_protection   = bool
  })
}

variable "redis" {
  description = "Version and size of Redis, and the id of its user made out of band."
  type = object({
    engine_version          = string
    node_type               = string
    nodes                   = number
    user_id                 = string
    snapshot_retention_days = number
  })
}

variable "api" {
  description = "Size of the control plane: CPU units and MiB of a task, and how many tasks."
  type = object({
    cpu    = number
    memory = number
    tasks  = number
  })
}

variable "edge" {
  description = "Size of the data plane: CPU units and MiB of a task, and between how many tasks it scales; ranges whose addresses are not bounded, and whether it does without Pub/Sub."
  type = object({
    cpu             = number
    memory          = number
    min_tasks       = number
    max_tasks       = number
    ip_limit_exempt = list(string)
    streams_only    = bool
  })
}

variable "observability" {
  description = "What is kept and who is told: days of logs, Container Insights, address for alerts, OTLP/HTTP collector (empty = none)."
  type = object({
    log_retention_days = number
    container_insights = string
    alert_email        = string
    otlp_endpoint      = string
  })
}
