output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "Subnets for load balancers, one in each zone."
  value       = [for zone in var.availability_zones : aws_subnet.public[zone].id]
}

output "private_subnet_ids" {
  description = "Subnets for tasks and stores, one in each zone."
  value       = [for zone in var.availability_zones : aws_subnet.private[zone].id]
}

output "nat_addresses" {
  description = "Addresses from which upstream webhooks are called; customers put them on allow lists."
  value       = [for address in aws_eip.nat : address.public_ip]
}

output "public_cidr_blocks" {
  description = "Address ranges of the public subnets: load balancers speak from there."
  value       = [for zone in var.availability_zones : aws_subnet.public[zone].cidr_block]
}
