output "redis_endpoint" {
  description = "host:port for the secret REDIS_URL: rediss://{user}:{password}@{redis_endpoint}."
  value       = module.platform.redis_endpoint
}

output "nat_addresses" {
  description = "Addresses from which upstream webhooks are called."
  value       = module.platform.nat_addresses
}

output "cluster_name" {
  description = "ECS cluster of the services api and edge."
  value       = module.platform.cluster_name
}

output "log_groups" {
  description = "CloudWatch log groups by service."
  value       = module.platform.log_groups
}

output "alerts_topic_arn" {
  description = "SNS topic of the alerts."
  value       = module.platform.alerts_topic_arn
}
