# Staging: what it is made of is in modules/platform, how big it is stands here.

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
    key          = "signalbox/staging.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      product     = "signalbox"
      environment = "staging"
      managed_by  = "terraform"
    }
  }
}

module "platform" {
  source = "../../modules/platform"

  environment       = "staging"
  domains           = var.domains
  certificates      = var.certificates
  secrets           = var.secrets
  sign_in           = var.sign_in
  images            = var.images
  operator_networks = var.operator_networks

  network = {
    cidr_block           = "10.40.0.0/16"
    availability_zones   = var.availability_zones
    nat_gateway_per_zone = false
  }

  postgres = {
    engine_version        = "17"
    instance_class        = "db.t4g.small"
    allocated_storage     = 20
    max_allocated_storage = 100
    multi_az              = false
    backup_retention_days = 7
    deletion_protection   = false
  }

  redis = {
    engine_version          = "7.1"
    node_type               = "cache.t4g.small"
    nodes                   = 2
    user_id                 = var.redis_user_id
    snapshot_retention_days = 1
  }

  api = {
    cpu    = 512
    memory = 1024
    tasks  = 2
  }

  edge = {
    cpu             = 1024
    memory          = 2048
    min_tasks       = 2
    max_tasks       = 4
    ip_limit_exempt = var.ip_limit_exempt
    streams_only    = var.streams_only
  }

  observability = {
    log_retention_days = 14
    container_insights = "disabled"
    alert_email        = var.alert_email
    otlp_endpoint      = var.otlp_endpoint
  }
}
