# The data plane. Any edge serves any tenant and no request needs the edge that
# served the one before, so the load balancer keeps no stickiness.

locals {
  port = var.target

  environment = merge({
    SIGNALBOX_EDGE_ADDR            = ":${local.port.public}"
    SIGNALBOX_EDGE_ADMIN_ADDR      = ":${local.port.admin}"
    SIGNALBOX_EDGE_INTERNAL_ADDR   = ":${local.port.internal}"
    SIGNALBOX_API_INTERNAL_URL     = var.api_internal_url
    SIGNALBOX_SERVICE_HOSTS        = var.service_domain
    SIGNALBOX_TRUSTED_PROXIES      = join(",", var.trusted_proxies)
    SIGNALBOX_EDGE_IP_LIMIT_EXEMPT = join(",", var.ip_limit_exempt)
    SIGNALBOX_STREAMS_ONLY         = tostring(var.streams_only)
    SIGNALBOX_EDGE_DRAIN_GRACE     = "10s"
    SIGNALBOX_EDGE_DRAIN           = "${var.drain_seconds - 40}s" # the rest is for the grace before and last words after
    OTEL_RESOURCE_ATTRIBUTES       = "deployment.environment.name=${var.environment}"
    }, var.otlp_endpoint == "" ? {} : {
    OTEL_EXPORTER_OTLP_ENDPOINT = var.otlp_endpoint
  })

  secrets = merge({
    REDIS_URL              = var.redis_url_secret_arn
    SIGNALBOX_FLEET_SECRET = var.fleet_secret_arn
    }, var.fleet_secrets_former_arn == "" ? {} : {
    SIGNALBOX_FLEET_SECRETS_FORMER = var.fleet_secrets_former_arn
  })
}

data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/edge"
  retention_in_days = var.log_retention_days
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-edge"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = tostring(var.cpu)
  memory                   = tostring(var.memory)
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = jsonencode([{
    name                   = "edge"
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = var.drain_seconds
    portMappings           = [for name, port in local.port : { name = name, containerPort = port, protocol = "tcp" }]
    environment            = [for name, value in local.environment : { name = name, value = value }]
    secrets                = [for name, arn in local.secrets : { name = name, valueFrom = arn }]
    linuxParameters        = { initProcessEnabled = false, capabilities = { drop = ["ALL"] } }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.region
        awslogs-stream-prefix = "edge"
        mode                  = "non-blocking"
        max-buffer-size       = "8m"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  name            = "edge"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = "FARGATE"
  desired_count   = var.min_tasks
  propagate_tags  = "SERVICE"

  # New edges are ready before old ones drain.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 30

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "edge"
    container_port   = local.port.public
  }

  lifecycle {
    ignore_changes = [desired_count] # autoscaling's
  }

  depends_on = [aws_lb_listener.https]
}
