# Nothing is applied from here. `terraform init` and `terraform test` in this folder run tests/ over the modules, without an account.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
