variable "region" {
  description = "AWS region, such as eu-central-1."
  type        = string
}

variable "availability_zones" {
  description = "Zones of the region to spread over, two or more."
  type        = list(string)
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
  description = "ARNs of the secrets that are made out of band: see deploy/terraform/README.md."
  type = object({
    fleet               = string
    fleet_former        = string # "" = none; while the secret is exchanged
    sealing_key         = string
    sealing_keys_former = string # "" = none; while the key is exchanged
    redis_url           = string
    smtp_url            = string
  })
}

variable "redis_user_id" {
  description = "Id of the ElastiCache user that is made out of band."
  type        = string
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

variable "ip_limit_exempt" {
  description = "Address ranges whose connections are not bounded by address."
  type        = list(string)
}

variable "streams_only" {
  description = "Do without Pub/Sub of Redis; a change is deployed as deploy/terraform/README.md says."
  type        = bool
}

variable "operator_networks" {
  description = "Private address ranges from which operators reach their listener; empty = nobody serves them."
  type        = list(string)
}

variable "images" {
  description = "The images of one release, by digest or immutable tag, and the architecture they are for (ARM64 or X86_64)."
  type = object({
    api          = string
    edge         = string
    architecture = string
  })
}

variable "alert_email" {
  description = "Address that gets alerts."
  type        = string
}

variable "otlp_endpoint" {
  description = "OTLP/HTTP collector for traces and metrics; empty = none."
  type        = string
  default     = ""
}
