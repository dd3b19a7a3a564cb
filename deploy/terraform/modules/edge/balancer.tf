resource "aws_security_group" "balancer" {
  name        = "${var.name}-edge-balancer"
  description = "Load balancer of the data plane"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-edge-balancer" }
}

resource "aws_vpc_security_group_ingress_rule" "public" {
  for_each = { http = 80, https = 443 }

  security_group_id = aws_security_group.balancer.id
  description       = "${each.key}, from anywhere"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = "0.0.0.0/0"
}

# The balancer reaches the public listener and, for health checks only, the admin
# listener; no listener rule leads there.
resource "aws_vpc_security_group_egress_rule" "balancer" {
  for_each = { public = local.port.public, admin = local.port.admin }

  security_group_id            = aws_security_group.balancer.id
  referenced_security_group_id = var.security_group_id
  description                  = "${each.key} listener of the tasks"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  for_each = { public = local.port.public, admin = local.port.admin }

  security_group_id            = var.security_group_id
  referenced_security_group_id = aws_security_group.balancer.id
  description                  = "${each.key} listener, from the load balancer"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_lb" "this" {
  name               = "${var.name}-edge"
  load_balancer_type = "application"
  internal           = false
  subnets            = var.public_subnet_ids
  security_groups    = [aws_security_group.balancer.id]
  idle_timeout       = var.idle_timeout_seconds

  drop_invalid_header_fields = true
  enable_deletion_protection = true
}

resource "aws_lb_target_group" "this" {
  name                          = "${var.name}-edge"
  vpc_id                        = var.vpc_id
  target_type                   = "ip"
  protocol                      = "HTTP"
  port                          = local.port.public
  load_balancing_algorithm_type = "least_outstanding_requests"

  # A stopping edge is taken out of rotation at once and keeps its open connections
  # for as long as it may drain.
  deregistration_delay = tostring(var.drain_seconds)

  stickiness {
    enabled = false
    type    = "lb_cookie"
  }

  health_check {
    path                = "/readyz"
    port                = tostring(local.port.admin)
    matcher             = "200"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = 443
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTP"
  port              = 80

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_route53_record" "this" {
  for_each = toset([var.service_domain, "*.${var.service_domain}"])

  zone_id = var.zone_id
  name    = each.value
  type    = "A"

  alias {
    name                   = aws_lb.this.dns_name
    zone_id                = aws_lb.this.zone_id
    evaluate_target_health = true
  }
}
