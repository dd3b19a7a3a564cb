output "service_name" {
  description = "Name of the ECS service."
  value       = aws_ecs_service.this.name
}

output "load_balancer_arn_suffix" {
  description = "Load balancer, as CloudWatch's dimensions name it."
  value       = aws_lb.this.arn_suffix
}

output "target_group_arn_suffix" {
  description = "Target group, as CloudWatch's dimensions name it."
  value       = aws_lb_target_group.this.arn_suffix
}

output "log_group_name" {
  description = "Log group of the api."
  value       = aws_cloudwatch_log_group.this.name
}

output "internal_url" {
  description = "The internal listener, for the edges."
  value       = "https://${aws_service_discovery_service.this.name}.${var.private_domain}:${var.target.internal}"
}
