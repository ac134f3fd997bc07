"""Terraform roots whose provider talks to an AWS on loopback."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.infra.aws_double import client
from tests.infra.terraform import Root

BUCKET = "acme-sightline"
ADMIN = "arn:aws:iam::123456789012:role/platform-admin"
OPERATOR = "arn:aws:iam::123456789012:role/ml-lead"
_SERVICES = (
    *("autoscaling", "budgets", "ce", "cloudwatch", "ec2", "ecr", "eks", "iam", "kms", "logs", "rds", "s3", "s3control", "secretsmanager"),
    *("sns", "sts"),
)


@dataclass(frozen=True)
class World:
    """Roots whose provider talks to a server on loopback, and boto3 clients of the same server."""

    url: str
    sources: Path

    def root(self, environment: str) -> Root:
        """envs/<environment> with its variables and endpoints, initialised."""
        folder = self.sources / "envs" / environment
        (folder / "loopback_override.tf").write_text(_override(self.url))
        variables = {
            "bucket": f"{BUCKET}-{environment}",
            "admin_principal_arns": [ADMIN],
            "operator_principal_arns": [OPERATOR],
            "mail_addresses": ["ops@example.com"],
        }
        (folder / "loopback.auto.tfvars.json").write_text(json.dumps(variables))
        return Root(folder, self.sources / f"data-{environment}").init()

    @cached_property
    def dev(self) -> Root:
        """envs/dev."""
        return self.root("dev")

    def aws(self, service: str) -> Any:
        """A boto3 client."""
        return client(service, self.url)


def _override(url: str) -> str:
    endpoints = "\n".join(f'    {service} = "{url}"' for service in _SERVICES)
    return f"""
provider "aws" {{
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  endpoints {{
{endpoints}
  }}
}}
"""
