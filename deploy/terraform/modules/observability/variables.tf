variable "name" {
  description = "Prefix of every resource's name."
  type        = string
}

variable "alert_email" {
  description = "Address that gets alerts; it must confirm the subscription."
  type        = string
}

variable "runbook_url" {
  description = "Where the runbooks are published; {url}/{alert}.md explains an alert."
  type        = string
  default     = "https://github.com/signalbox/signalbox/blob/main/deploy/runbooks"
}

variable "services" {
  description = "Load balancer and target group of each service, as CloudWatch's dimensions name them, by service."
  type = map(object({
    load_balancer = string
    target_group  = string
  }))
}

variable "api_log_group_name" {
  description = "Log group of the api."
  type        = string
}

variable "redis_nodes" {
  description = "How many Redis nodes are watched: the number of redis_node_ids, known before they exist."
  type        = number
}

variable "redis_node_ids" {
  description = "Ids of the Redis nodes."
  type        = list(string)
}

variable "database_identifier" {
  description = "Identifier of the Postgres instance."
  type        = string
}

variable "database_free_storage_gib" {
  description = "Free storage of Postgres, in GiB, below which somebody must act."
  type        = number
  default     = 5
}
