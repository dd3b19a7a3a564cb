variable "name" {
  description = "Prefix of every resource's name, such as signalbox-staging."
  type        = string
}

variable "cidr_block" {
  description = "Address range of the VPC, a /16. Each subnet is a /20 of it."
  type        = string
}

variable "availability_zones" {
  description = "Zones to spread over, two to eight, such as [\"eu-central-1a\", \"eu-central-1b\"]."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 2 && length(var.availability_zones) <= 8
    error_message = "Give two to eight availability zones."
  }
}

variable "nat_gateway_per_zone" {
  description = "true: a NAT gateway in each zone, so that losing a zone cuts off no other. false: one for all, cheaper."
  type        = bool
}
