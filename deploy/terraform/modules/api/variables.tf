variable "name" {
  description = "Prefix of every resource's name; at most 27 characters."
  type        = string

  validation {
    condition     = length(var.name) <= 27
    error_message = "name must be at most 27 characters: load balancers and target groups allow 32."
  }
}

variable "environment" {
  description = "Name of the environment, told to telemetry."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the service."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks."
  type        = list(string)
}

variable "cluster_arn" {
  description = "ARN of the ECS cluster."
  type        = string
}

variable "security_group_id" {
  description = "Security group of the tasks, from module cluster."
  type        = string
}

variable "certificate_arn" {
  description = "ACM certificate of the load balancer, made and validated out of band."
  type        = string
}

variable "zone_id" {
  description = "Route 53 zone of the public names."
  type        = string
}

variable "image" {
  description = "Image with digest or immutable tag."
  type        = string
}

variable "cpu_architecture" {
  description = "Architecture of the image: ARM64 or X86_64."
  type        = string

  validation {
    condition     = contains(["ARM64", "X86_64"], var.cpu_architecture)
    error_message = "cpu_architecture must be ARM64 or X86_64."
  }
}

variable "cpu" {
  description = "CPU units of a task; 1024 = one core."
  type        = number
}

variable "memory" {
  description = "Memory of a task in MiB, in a combination that Fargate has for cpu."
  type        = number
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the logs."
  type        = number
}

variable "otlp_endpoint" {
  description = "OTLP/HTTP collector for traces and metrics; empty = none."
  type        = string
  default     = ""
}

variable "redis_url_secret_arn" {
  description = "Secret that holds REDIS_URL, made out of band."
  type        = string
}

variable "fleet_secret_arn" {
  description = "Secret that holds SIGNALBOX_FLEET_SECRET, made out of band."
  type        = string
}

variable "fleet_secrets_former_arn" {
  description = "Secret that holds SIGNALBOX_FLEET_SECRETS_FORMER while the fleet's secret is exchanged; empty = none."
  type        = string
}

variable "target" {
  description = "Where tasks listen: the public port, the admin port (health and metrics) and the internal port (mutual TLS)."
  type = object({
    public   = number
    admin    = number
    internal = number
  })
}

variable "namespace_id" {
  description = "Private DNS namespace in which edges find the internal listener."
  type        = string
}

variable "private_domain" {
  description = "Name of that namespace."
  type        = string
}

variable "console_domain" {
  description = "Public name of the console and the control plane's API."
  type        = string
}

variable "service_domain" {
  description = "Public domain of the data plane."
  type        = string
}

variable "tasks" {
  description = "How many api tasks run; two or more, so that a deployment or a lost zone is not noticed."
  type        = number
}

variable "database_url" {
  description = "DATABASE_URL without a password."
  type        = string
}

variable "database_password_secret_arn" {
  description = "Secret of RDS with the JSON key password."
  type        = string
}

variable "sealing_key_secret_arn" {
  description = "Secret that holds SIGNALBOX_SEALING_KEY, made out of band. Losing it loses every access key."
  type        = string
}

variable "sealing_keys_former_secret_arn" {
  description = "Secret that holds SIGNALBOX_SEALING_KEYS_FORMER while the sealing key is exchanged; empty = none."
  type        = string
}

variable "smtp_url_secret_arn" {
  description = "Secret that holds SIGNALBOX_SMTP_URL, made out of band."
  type        = string
}

variable "restart_schedule" {
  description = "When the tasks are replaced to read the rotated database password: an EventBridge Scheduler expression an hour or more after password_rotation_schedule of module postgres."
  type        = string
}

variable "trusted_proxies" {
  description = "Address ranges of the load balancer, whose X-Forwarded-For is believed: limits and the audit go by the caller's address."
  type        = list(string)
}

variable "operator_networks" {
  description = "Private address ranges from which operators reach their listener; empty = nobody serves them."
  type        = list(string)
  nullable    = false

  validation {
    condition     = alltrue([for n in var.operator_networks : can(cidrnetmask(n)) && try(cidrsubnet(n, 0, 0) == n, false)])
    error_message = "operator_networks must be IPv4 ranges without bits beyond the prefix, as 10.8.0.0/24."
  }

  # The listener has private addresses alone; whoever wrote another range has mistaken it.
  validation {
    condition = alltrue([for n in var.operator_networks : anytrue([for p in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"] :
      try(tonumber(split("/", n)[1]) >= tonumber(split("/", p)[1]) && cidrsubnet("${split("/", n)[0]}/${split("/", p)[1]}", 0, 0) == p, false)
    ])])
    error_message = "operator_networks must lie within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10."
  }
}

variable "oidc_issuer" {
  description = "Issuer of the OpenID provider with which people may sign in; empty = none."
  type        = string
}

variable "oidc_client_id" {
  description = "What the provider knows the console as."
  type        = string
}

variable "oidc_name" {
  description = "The provider's name on the sign-in page."
  type        = string
}

variable "oidc_client_secret_arn" {
  description = "Secret that holds SIGNALBOX_OIDC_CLIENT_SECRET, made out of band; empty when there is no provider."
  type        = string
}
