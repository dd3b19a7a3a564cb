# A task reads the database password when it starts. RDS rotates it on a schedule
# of ours; this one replaces the tasks afterwards. In between, connections that are
# open stay open.

data "aws_iam_policy_document" "scheduler_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "restart" {
  statement {
    actions   = ["ecs:UpdateService"]
    resources = [aws_ecs_service.this.id]
  }
}

resource "aws_iam_role" "restart" {
  name               = "${var.name}-api-restart"
  assume_role_policy = data.aws_iam_policy_document.scheduler_assume.json
}

resource "aws_iam_role_policy" "restart" {
  name   = "restart"
  role   = aws_iam_role.restart.id
  policy = data.aws_iam_policy_document.restart.json
}

resource "aws_scheduler_schedule" "restart" {
  name                = "${var.name}-api-restart"
  description         = "Start api tasks anew after the database password was rotated"
  schedule_expression = var.restart_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:aws:scheduler:::aws-sdk:ecs:updateService"
    role_arn = aws_iam_role.restart.arn

    input = jsonencode({
      Cluster            = var.cluster_arn
      Service            = aws_ecs_service.this.name
      ForceNewDeployment = true
    })
  }
}
