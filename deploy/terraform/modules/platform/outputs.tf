output "redis_endpoint" {
  description = "host:port for the secret REDIS_URL: rediss://{user}:{password}@{redis_endpoint}."
  value       = module.redis.endpoint
}

output "nat_addresses" {
  description = "Addresses from which upstream webhooks are called."
  value       = module.network.nat_addresses
}

output "cluster_name" {
  description = "ECS cluster of the services api and edge."
  value       = module.cluster.cluster_name
}

output "log_groups" {
  description = "CloudWatch log groups by service."
  value = {
    api  = module.api.log_group_name
    edge = module.edge.log_group_name
  }
}

output "alerts_topic_arn" {
  description = "SNS topic of the alerts."
  value       = module.observability.alerts_topic_arn
}
