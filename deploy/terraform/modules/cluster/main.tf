# What the two services share: the ECS cluster, the private DNS domain, and who may
# talk to whom behind the load balancers. Both security groups live here since
# each is named in the other's rules.

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = var.container_insights
  }
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = var.private_domain
  description = "Internal listeners of ${var.name}"
  vpc         = var.vpc_id
}

resource "aws_security_group" "api" {
  name        = "${var.name}-api"
  description = "Tasks of the control plane"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-api" }
}

resource "aws_security_group" "edge" {
  name        = "${var.name}-edge"
  description = "Tasks of the data plane"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-edge" }
}

# The internal listeners: edge to edge (relayed polls and posts), edge to api
# (tenant documents). Nothing else reaches them.
resource "aws_vpc_security_group_ingress_rule" "edge_from_edge" {
  security_group_id            = aws_security_group.edge.id
  referenced_security_group_id = aws_security_group.edge.id
  description                  = "Internal listener, from other edges"
  ip_protocol                  = "tcp"
  from_port                    = var.edge_internal_port
  to_port                      = var.edge_internal_port
}

resource "aws_vpc_security_group_ingress_rule" "api_from_edge" {
  security_group_id            = aws_security_group.api.id
  referenced_security_group_id = aws_security_group.edge.id
  description                  = "Internal listener, from edges"
  ip_protocol                  = "tcp"
  from_port                    = var.api_internal_port
  to_port                      = var.api_internal_port
}

# Outwards: stores, AWS' own services, mail, customers' upstreams.
resource "aws_vpc_security_group_egress_rule" "api" {
  security_group_id = aws_security_group.api.id
  description       = "Anywhere"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "edge" {
  security_group_id = aws_security_group.edge.id
  description       = "Anywhere"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}
