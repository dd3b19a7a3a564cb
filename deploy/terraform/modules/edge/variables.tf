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

variable "service_domain" {
  description = "Public domain of the data plane; tenants are its subdomains. The certificate covers it and *.it."
  type        = string
}

variable "api_internal_url" {
  description = "The api's internal listener, such as https://api.signalbox.internal:20021."
  type        = string
}

variable "min_tasks" {
  description = "Fewest edges; two or more, so that a lost one is a reconnect and no outage."
  type        = number
}

variable "max_tasks" {
  description = "Most edges that autoscaling may start."
  type        = number
}

variable "cpu_target" {
  description = "Average CPU, in percent, that autoscaling aims at."
  type        = number
  default     = 55
}

variable "memory_target" {
  description = "Average memory, in percent, that autoscaling aims at: connections cost memory before they cost CPU."
  type        = number
  default     = 65
}

variable "drain_seconds" {
  description = "Time that a stopping edge has to send its clients elsewhere and to flush its usage, 60 to 120. Fewer than 40 s of it are not spent on sending clients elsewhere."
  type        = number
  default     = 120

  validation {
    condition     = var.drain_seconds >= 60 && var.drain_seconds <= 120
    error_message = "drain_seconds must be 60 to 120: Fargate kills a task after 120 s."
  }
}

variable "idle_timeout_seconds" {
  description = "Silence after which the load balancer drops a connection. Long polls are silent for 90 s, keep-alives come every 15 s."
  type        = number
  default     = 120

  validation {
    condition     = var.idle_timeout_seconds > 95
    error_message = "idle_timeout_seconds must be more than 95: a long poll waits up to 90 s."
  }
}

variable "trusted_proxies" {
  description = "Address ranges of the load balancer, whose X-Forwarded headers are believed."
  type        = list(string)
}

variable "ip_limit_exempt" {
  description = "Address ranges whose connections are not bounded by address: offices and proxies behind which many clients are."
  type        = list(string)
}

variable "streams_only" {
  description = "Do without Pub/Sub of Redis: every promise holds, at up to three times its CPU per message. Edges of both kinds do not run side by side: deploy a change as deploy/terraform/README.md says."
  type        = bool
}
