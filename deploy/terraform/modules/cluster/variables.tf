variable "name" {
  description = "Prefix of every resource's name."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the tasks."
  type        = string
}

variable "private_domain" {
  description = "Private DNS domain in which tasks find each other, such as signalbox.internal."
  type        = string
}

variable "api_internal_port" {
  description = "Port of the api's internal listener (mutual TLS)."
  type        = number
}

variable "edge_internal_port" {
  description = "Port of the edges' internal listener (mutual TLS)."
  type        = number
}

variable "container_insights" {
  description = "CloudWatch Container Insights: \"enabled\", \"enhanced\" or \"disabled\". It is billed per metric."
  type        = string

  validation {
    condition     = contains(["enabled", "enhanced", "disabled"], var.container_insights)
    error_message = "container_insights must be one of enabled, enhanced, disabled."
  }
}
