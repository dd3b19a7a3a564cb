# Alerts from AWS' own metrics and logs, which come without a collector and still come
# when our processes don't. What the product says of itself is in deploy/grafana. Each
# alert names the runbook that says what to do.

locals {
  per_service = merge([
    for service, ids in var.services : {
      "${service}-unhealthy" = {
        runbook    = "unhealthy-tasks"
        namespace  = "AWS/ApplicationELB"
        metric     = "UnHealthyHostCount"
        statistic  = "Maximum"
        threshold  = 0
        comparison = "GreaterThanThreshold"
        periods    = 3
        dimensions = { LoadBalancer = ids.load_balancer, TargetGroup = ids.target_group }
      }
      "${service}-errors" = {
        runbook    = "server-errors"
        namespace  = "AWS/ApplicationELB"
        metric     = "HTTPCode_Target_5XX_Count"
        statistic  = "Sum"
        threshold  = 20
        comparison = "GreaterThanThreshold"
        periods    = 5
        dimensions = { LoadBalancer = ids.load_balancer, TargetGroup = ids.target_group }
      }
    }
  ]...)

  per_redis_node = merge([
    for i in range(var.redis_nodes) : {
      "redis-${i}-memory" = {
        runbook    = "redis-memory"
        namespace  = "AWS/ElastiCache"
        metric     = "DatabaseMemoryUsagePercentage"
        statistic  = "Maximum"
        threshold  = 70
        comparison = "GreaterThanThreshold"
        periods    = 3
        dimensions = { CacheClusterId = var.redis_node_ids[i] }
      }
      "redis-${i}-evictions" = {
        runbook    = "redis-memory"
        namespace  = "AWS/ElastiCache"
        metric     = "Evictions"
        statistic  = "Sum"
        threshold  = 0
        comparison = "GreaterThanThreshold"
        periods    = 1
        dimensions = { CacheClusterId = var.redis_node_ids[i] }
      }
    }
  ]...)

  postgres = {
    "postgres-storage" = {
      runbook    = "postgres-storage"
      namespace  = "AWS/RDS"
      metric     = "FreeStorageSpace"
      statistic  = "Minimum"
      threshold  = var.database_free_storage_gib * 1024 * 1024 * 1024
      comparison = "LessThanThreshold"
      periods    = 3
      dimensions = { DBInstanceIdentifier = var.database_identifier }
    }
  }

  documents = {
    "documents-unpublished" = {
      runbook    = "documents-unpublished"
      namespace  = var.name
      metric     = aws_cloudwatch_log_metric_filter.unpublished.metric_transformation[0].name
      statistic  = "Sum"
      threshold  = 0
      comparison = "GreaterThanThreshold"
      periods    = 1
      dimensions = {}
    }
  }
}

# Nothing of a document that can't be published is to be seen at the edges, which go on
# with the one before: the api's log has it.
resource "aws_cloudwatch_log_metric_filter" "unpublished" {
  name           = "${var.name}-documents-unpublished"
  log_group_name = var.api_log_group_name
  pattern        = "{ $.msg = \"document not published*\" }"

  metric_transformation {
    name      = "DocumentsUnpublished"
    namespace = var.name
    value     = "1"
  }
}

resource "aws_sns_topic" "alerts" {
  name = "${var.name}-alerts"
}

resource "aws_sns_topic_subscription" "email" {
  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = var.alert_email
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = merge(local.per_service, local.per_redis_node, local.postgres, local.documents)

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${var.runbook_url}/${each.value.runbook}.md"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = each.value.periods
  threshold           = each.value.threshold
  comparison_operator = each.value.comparison
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alerts.arn]
  ok_actions          = [aws_sns_topic.alerts.arn]
}
