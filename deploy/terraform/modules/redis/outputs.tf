output "endpoint" {
  description = "host:port of the primary, for REDIS_URL: rediss://{user}:{password}@{endpoint}."
  value       = "${aws_elasticache_replication_group.this.primary_endpoint_address}:${aws_elasticache_replication_group.this.port}"
}

output "node_ids" {
  description = "Ids of the cache nodes, for alarms."
  value       = aws_elasticache_replication_group.this.member_clusters
}
