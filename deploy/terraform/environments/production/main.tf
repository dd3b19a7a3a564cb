# Production: what it is made of is in modules/platform, how big it is stands here.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }

  # terraform init -backend-config="bucket={bucket}" -backend-config="region={region}"
  backend "s3" {
    key          = "signalbox/production.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      product     = "signalbox"
      environment = "production"
      managed_by  = "terraform"
    }
  }
}

module "platform" {
  source = "../../modules/platform"

  environment       = "production"
  domains           = var.domains
  certificates      = var.certificates
  secrets           = var.secrets
  sign_in           = var.sign_in
  images            = var.images
  operator_networks = var.operator_networks

  network = {
    cidr_block           = "10.50.0.0/16"
    availability_zones   = var.availability_zones
    nat_gateway_per_zone = true
  }

  postgres = {
    engine_version        = "17"
    instance_class        = "db.m7g.large"
    allocated_storage     = 100
    max_allocated_storage = 1000
    multi_az              = true
    backup_retention_days = 30
    deletion_protection   = true
  }

  redis = {
    engine_version          = "7.1"
    node_type               = "cache.m7g.large"
    nodes                   = 3
    user_id                 = var.redis_user_id
    snapshot_retention_days = 7
  }

  api = {
    cpu    = 1024
    memory = 2048
    tasks  = 3
  }

  edge = {
    cpu             = 4096
    memory          = 8192
    min_tasks       = 3
    max_tasks       = 30
    ip_limit_exempt = var.ip_limit_exempt
    streams_only    = var.streams_only
  }

  observability = {
    log_retention_days = 90
    container_insights = "enabled"
    alert_email        = var.alert_email
    otlp_endpoint      = var.otlp_endpoint
  }
}
