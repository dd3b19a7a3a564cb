output "cluster_arn" {
  description = "ARN of the ECS cluster."
  value       = aws_ecs_cluster.this.arn
}

output "cluster_name" {
  description = "Name of the ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "namespace_id" {
  description = "Id of the private DNS namespace."
  value       = aws_service_discovery_private_dns_namespace.this.id
}

output "private_domain" {
  description = "Name of the private DNS namespace."
  value       = aws_service_discovery_private_dns_namespace.this.name
}

output "api_security_group_id" {
  description = "Security group of the api's tasks."
  value       = aws_security_group.api.id
}

output "edge_security_group_id" {
  description = "Security group of the edges' tasks."
  value       = aws_security_group.edge.id
}
