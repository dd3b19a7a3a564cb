# The control plane: the console, its API, background jobs, and the internal
# listener from which edges fetch tenant documents that Redis has lost.

locals {
  port          = var.target
  operator_port = 20025

  environment = merge({
    DATABASE_URL                = var.database_url
    SIGNALBOX_API_ADDR          = ":${local.port.public}"
    SIGNALBOX_API_ADMIN_ADDR    = ":${local.port.admin}"
    SIGNALBOX_API_INTERNAL_ADDR = ":${local.port.internal}"
    SIGNALBOX_CONSOLE_URL       = "https://${var.console_domain}"
    SIGNALBOX_SERVICE_URL       = "https://${var.service_domain}"
    SIGNALBOX_MAIL_FROM         = "Signalbox <no-reply@${var.console_domain}>"
    SIGNALBOX_TRUSTED_PROXIES   = join(",", var.trusted_proxies)
    OTEL_RESOURCE_ATTRIBUTES    = "deployment.environment.name=${var.environment}"
    }, var.otlp_endpoint == "" ? {} : {
    OTEL_EXPORTER_OTLP_ENDPOINT = var.otlp_endpoint
    }, length(var.operator_networks) == 0 ? {} : {
    SIGNALBOX_OPERATOR_ADDR = ":${local.operator_port}"
    }, var.oidc_issuer == "" ? {} : {
    SIGNALBOX_OIDC_ISSUER    = var.oidc_issuer
    SIGNALBOX_OIDC_CLIENT_ID = var.oidc_client_id
    SIGNALBOX_OIDC_NAME      = var.oidc_name
  })

  secrets = merge({
    PGPASSWORD             = "${var.database_password_secret_arn}:password::"
    REDIS_URL              = var.redis_url_secret_arn
    SIGNALBOX_FLEET_SECRET = var.fleet_secret_arn
    SIGNALBOX_SEALING_KEY  = var.sealing_key_secret_arn
    SIGNALBOX_SMTP_URL     = var.smtp_url_secret_arn
    }, var.oidc_issuer == "" ? {} : {
    SIGNALBOX_OIDC_CLIENT_SECRET = var.oidc_client_secret_arn
    }, var.sealing_keys_former_secret_arn == "" ? {} : {
    SIGNALBOX_SEALING_KEYS_FORMER = var.sealing_keys_former_secret_arn
    }, var.fleet_secrets_former_arn == "" ? {} : {
    SIGNALBOX_FLEET_SECRETS_FORMER = var.fleet_secrets_former_arn
  })
}

data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/api"
  retention_in_days = var.log_retention_days
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-api"
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
    name                   = "api"
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = 30
    portMappings           = [for name, port in local.port : { name = name, containerPort = port, protocol = "tcp" }]
    environment            = [for name, value in local.environment : { name = name, value = value }]
    secrets                = [for name, arn in local.secrets : { name = name, valueFrom = arn }]
    linuxParameters        = { initProcessEnabled = false, capabilities = { drop = ["ALL"] } }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.region
        awslogs-stream-prefix = "api"
        mode                  = "non-blocking"
        max-buffer-size       = "8m"
      }
    }
  }])
}

# Operators come through a tunnel, as ssh -L 20025:api.{private domain}:20025 of a host
# in these networks: their listener is on no load balancer.
resource "aws_vpc_security_group_ingress_rule" "operators" {
  for_each = toset(var.operator_networks)

  security_group_id = var.security_group_id
  description       = "Operators"
  ip_protocol       = "tcp"
  from_port         = local.operator_port
  to_port           = local.operator_port
  cidr_ipv4         = each.value
}

# Edges find the tasks by name: the internal listener is on no load balancer.
resource "aws_service_discovery_service" "this" {
  name = "api"

  dns_config {
    namespace_id   = var.namespace_id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }
}

resource "aws_ecs_service" "this" {
  name            = "api"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = "FARGATE"
  desired_count   = var.tasks
  propagate_tags  = "SERVICE"

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  # The first task of a release migrates the database before it is ready.
  health_check_grace_period_seconds = 300

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
    container_name   = "api"
    container_port   = local.port.public
  }

  service_registries {
    registry_arn = aws_service_discovery_service.this.arn
  }

  depends_on = [aws_lb_listener.https]
}
