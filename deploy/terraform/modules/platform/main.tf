# One whole deployment of the product. Environments differ in sizes and names only,
# so that what was tried in staging is what runs in production.

locals {
  name = "signalbox-${var.environment}"

  # The listeners of deploy/docker/Containerfile.
  api_ports  = { public = 8080, admin = 20011, internal = 20021 }
  edge_ports = { public = 8888, admin = 20012, internal = 20022 }
}

module "network" {
  source = "../network"

  name                 = local.name
  cidr_block           = var.network.cidr_block
  availability_zones   = var.network.availability_zones
  nat_gateway_per_zone = var.network.nat_gateway_per_zone
}

module "cluster" {
  source = "../cluster"

  name               = local.name
  vpc_id             = module.network.vpc_id
  private_domain     = "${local.name}.internal"
  api_internal_port  = local.api_ports.internal
  edge_internal_port = local.edge_ports.internal
  container_insights = var.observability.container_insights
}

module "postgres" {
  source = "../postgres"

  name                       = local.name
  vpc_id                     = module.network.vpc_id
  subnet_ids                 = module.network.private_subnet_ids
  client_security_group_id   = module.cluster.api_security_group_id
  engine_version             = var.postgres.engine_version
  instance_class             = var.postgres.instance_class
  allocated_storage          = var.postgres.allocated_storage
  max_allocated_storage      = var.postgres.max_allocated_storage
  multi_az                   = var.postgres.multi_az
  backup_retention_days      = var.postgres.backup_retention_days
  deletion_protection        = var.postgres.deletion_protection
  password_rotation_schedule = "cron(0 3 ? * SUN#1 *)"
}

module "redis" {
  source = "../redis"

  name       = local.name
  vpc_id     = module.network.vpc_id
  subnet_ids = module.network.private_subnet_ids
  client_security_group_ids = {
    api  = module.cluster.api_security_group_id
    edge = module.cluster.edge_security_group_id
  }
  engine_version          = var.redis.engine_version
  node_type               = var.redis.node_type
  nodes                   = var.redis.nodes
  user_id                 = var.redis.user_id
  snapshot_retention_days = var.redis.snapshot_retention_days
}

module "api" {
  source = "../api"

  name                           = local.name
  environment                    = var.environment
  vpc_id                         = module.network.vpc_id
  public_subnet_ids              = module.network.public_subnet_ids
  private_subnet_ids             = module.network.private_subnet_ids
  cluster_arn                    = module.cluster.cluster_arn
  security_group_id              = module.cluster.api_security_group_id
  namespace_id                   = module.cluster.namespace_id
  private_domain                 = module.cluster.private_domain
  target                         = local.api_ports
  certificate_arn                = var.certificates.console
  zone_id                        = var.domains.zone_id
  console_domain                 = var.domains.console
  trusted_proxies                = module.network.public_cidr_blocks
  service_domain                 = var.domains.service
  image                          = var.images.api
  cpu_architecture               = var.images.architecture
  cpu                            = var.api.cpu
  memory                         = var.api.memory
  tasks                          = var.api.tasks
  database_url                   = module.postgres.url
  database_password_secret_arn   = module.postgres.password_secret_arn
  redis_url_secret_arn           = var.secrets.redis_url
  fleet_secret_arn               = var.secrets.fleet
  fleet_secrets_former_arn       = var.secrets.fleet_former
  sealing_key_secret_arn         = var.secrets.sealing_key
  sealing_keys_former_secret_arn = var.secrets.sealing_keys_former
  smtp_url_secret_arn            = var.secrets.smtp_url
  operator_networks              = var.operator_networks
  oidc_issuer                    = var.sign_in.oidc_issuer
  oidc_client_id                 = var.sign_in.oidc_client_id
  oidc_name                      = var.sign_in.oidc_name
  oidc_client_secret_arn         = var.sign_in.oidc_client_secret
  restart_schedule               = "cron(30 4 ? * SUN#1 *)" # after the rotation and its window of one hour
  log_retention_days             = var.observability.log_retention_days
  otlp_endpoint                  = var.observability.otlp_endpoint
}

module "edge" {
  source = "../edge"

  name                     = local.name
  environment              = var.environment
  vpc_id                   = module.network.vpc_id
  public_subnet_ids        = module.network.public_subnet_ids
  private_subnet_ids       = module.network.private_subnet_ids
  cluster_arn              = module.cluster.cluster_arn
  security_group_id        = module.cluster.edge_security_group_id
  target                   = local.edge_ports
  certificate_arn          = var.certificates.service
  zone_id                  = var.domains.zone_id
  service_domain           = var.domains.service
  trusted_proxies          = module.network.public_cidr_blocks
  image                    = var.images.edge
  cpu_architecture         = var.images.architecture
  cpu                      = var.edge.cpu
  memory                   = var.edge.memory
  min_tasks                = var.edge.min_tasks
  max_tasks                = var.edge.max_tasks
  ip_limit_exempt          = var.edge.ip_limit_exempt
  streams_only             = var.edge.streams_only
  redis_url_secret_arn     = var.secrets.redis_url
  fleet_secret_arn         = var.secrets.fleet
  fleet_secrets_former_arn = var.secrets.fleet_former
  api_internal_url         = module.api.internal_url
  log_retention_days       = var.observability.log_retention_days
  otlp_endpoint            = var.observability.otlp_endpoint
}

module "observability" {
  source = "../observability"

  name        = local.name
  alert_email = var.observability.alert_email
  services = {
    api = {
      load_balancer = module.api.load_balancer_arn_suffix
      target_group  = module.api.target_group_arn_suffix
    }
    edge = {
      load_balancer = module.edge.load_balancer_arn_suffix
      target_group  = module.edge.target_group_arn_suffix
    }
  }
  api_log_group_name  = module.api.log_group_name
  redis_nodes         = var.redis.nodes
  redis_node_ids      = sort(module.redis.node_ids)
  database_identifier = module.postgres.identifier
}
