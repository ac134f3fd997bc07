# GPU pools without an account: what only a large environment uses (EFA), and what the inputs must refuse.

mock_provider "aws" {}

variables {
  name                      = "sightline-test-gpu"
  cluster_name              = "sightline-test"
  kubernetes_version        = "1.35"
  node_role_arn             = "arn:aws:iam::123456789012:role/node"
  vpc_id                    = "vpc-1"
  subnet_ids                = ["subnet-a", "subnet-b", "subnet-c"]
  cluster_security_group_id = "sg-cluster"
  instance_types            = ["p4d.24xlarge"]
  gpus_per_node             = 8
  max_spot_nodes            = 4
  max_on_demand_nodes       = 2
  disk_gib                  = 200
}

run "spot_and_fallback" {
  command = plan

  module {
    source = "./modules/gpu-node-pool"
  }

  assert {
    condition     = { for capacity, group in aws_eks_node_group.this : capacity => group.scaling_config[0].min_size } == { spot = 0, on-demand = 0 }
    error_message = "Both pools must scale from zero."
  }

  assert {
    condition     = length(aws_placement_group.efa) == 0 && length(aws_launch_template.this.network_interfaces) == 0
    error_message = "Without EFA there must be no placement group and no interface of our own."
  }

  assert {
    condition     = toset(aws_eks_node_group.this["spot"].subnet_ids) == toset(["subnet-a", "subnet-b", "subnet-c"])
    error_message = "Spot capacity must be looked for in every zone."
  }
}

run "efa" {
  command = plan

  module {
    source = "./modules/gpu-node-pool"
  }

  variables {
    efa_network_cards = 4
  }

  assert {
    condition     = [for card in aws_launch_template.this.network_interfaces : card.interface_type] == ["efa", "efa", "efa", "efa"]
    error_message = "Each network card must have an EFA interface."
  }

  assert {
    condition     = [for card in aws_launch_template.this.network_interfaces : [card.network_card_index, card.device_index]] == [[0, 0], [1, 1], [2, 1], [3, 1]]
    error_message = "Only the first card's interface has device index 0."
  }

  assert {
    condition     = aws_placement_group.efa[0].strategy == "cluster" && alltrue([for group in aws_eks_node_group.this : toset(group.subnet_ids) == toset(["subnet-a"])])
    error_message = "Nodes with EFA must be in one zone and close together."
  }

  assert {
    condition     = aws_autoscaling_group_tag.this["spot k8s.io/cluster-autoscaler/node-template/resources/vpc.amazonaws.com/efa"].tag[0].value == "4"
    error_message = "The autoscaler must know about the EFA interfaces of a node that is not there yet."
  }
}

run "no_fallback" {
  command = plan

  module {
    source = "./modules/gpu-node-pool"
  }

  variables {
    max_on_demand_nodes = 0
  }

  assert {
    condition     = keys(aws_eks_node_group.this) == ["spot"]
    error_message = "A pool of at most zero nodes must not be made."
  }
}
