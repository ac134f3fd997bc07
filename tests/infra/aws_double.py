"""An AWS on loopback: moto's HTTP server, plus the few operations that moto 5.2 lacks and our modules need.

What is added, all in memory and read back by boto3 and the provider like the rest:

* EKS: add-ons, access entries, Pod Identity associations; ``accessConfig``, ``upgradePolicy`` and the security group of a cluster; update
  settings of a node group, no SSH where none was asked for, and an Auto Scaling group that really exists, so that it can be tagged.
* EC2: a launch template's own tags are not part of its data.
* RDS: Performance Insights; the source of a changed parameter.
* Budgets: subscribers of a notification, tags.
* S3: request metrics of a bucket.
"""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.infra.eks_access import ACCOUNT, REGION, EksAccess

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}


@contextmanager
def running_aws() -> Iterator[str]:
    """The address of the server; while it runs, the environment has its fake credentials."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
        from moto.iam.models import iam_backends
        from moto.server import ThreadedMotoServer

        iam_backends.reset()  # one that an earlier test made has no managed policies

        for extend in (_extend_eks, _extend_launch_templates, _extend_rds, _extend_budgets, _extend_s3):
            extend(patch)
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()


def _extend_eks(patch: pytest.MonkeyPatch) -> None:
    from moto.eks import models, urls
    from moto.eks.responses import EKSResponse

    for path, handler in EksAccess().url_paths().items():
        patch.setitem(urls.url_paths, path, handler)
    create_cluster, create_nodegroup, make_nodegroup = (
        EKSResponse.create_cluster,
        EKSResponse.create_nodegroup,
        models.EKSBackend.create_nodegroup,
    )

    def cluster_with_access(self: Any) -> Any:
        answer = create_cluster(self)
        cluster = self.eks_backend.clusters[self._get_param("name")]
        cluster.access_config = self._get_param("accessConfig")
        cluster.upgrade_policy = self._get_param("upgradePolicy")
        cluster.resources_vpc_config = _with_security_group(cluster.resources_vpc_config, cluster.name)
        return answer

    def nodegroup_with_update(self: Any) -> Any:
        answer = create_nodegroup(self)
        nodegroup = self.eks_backend.clusters[self._get_param("name")].nodegroups[self._get_param("nodegroupName")]
        nodegroup.update_config = self._get_param("updateConfig")
        nodegroup.remote_access = self._get_param("remoteAccess")
        return answer

    def nodegroup_with_group(self: Any, *args: Any, **kwargs: Any) -> Any:
        nodegroup = make_nodegroup(self, *args, **kwargs)
        _make_autoscaling_group(nodegroup)
        return nodegroup

    patch.setattr(EKSResponse, "create_cluster", cluster_with_access)
    patch.setattr(EKSResponse, "create_nodegroup", nodegroup_with_update)
    patch.setattr(models.EKSBackend, "create_nodegroup", nodegroup_with_group)


def _with_security_group(config: dict[str, Any], cluster: str) -> dict[str, Any]:
    from moto.ec2.models import ec2_backends

    ec2 = ec2_backends[ACCOUNT][REGION]
    vpc = ec2.get_subnet(config["subnetIds"][0]).vpc_id
    group = ec2.create_security_group(f"eks-cluster-sg-{cluster}", "made by EKS", vpc)
    return {"publicAccessCidrs": ["0.0.0.0/0"]} | config | {"clusterSecurityGroupId": group.id, "vpcId": vpc}


def _make_autoscaling_group(nodegroup: Any) -> None:
    from moto.autoscaling.models import autoscaling_backends

    (group,) = nodegroup.resources["autoScalingGroups"]
    group["name"] = f"eks-{nodegroup.nodegroup_name}-{uuid.uuid4()}"
    autoscaling_backends[ACCOUNT][REGION].create_auto_scaling_group(
        name=group["name"],
        availability_zones=[],
        desired_capacity=0,  # no instances: what they would be is in the launch template
        max_size=nodegroup.scaling_config["maxSize"],
        min_size=0,
        launch_config_name="",
        launch_template={"LaunchTemplateId": nodegroup.launch_template["id"], "Version": "$Latest"},
        vpc_zone_identifier=",".join(nodegroup.subnets),
        default_cooldown=None,
        health_check_period=None,
        health_check_type=None,
        load_balancers=[],
        target_group_arns=[],
        placement_group=None,
        termination_policies=[],
        tags=[],
    )


def _extend_launch_templates(patch: pytest.MonkeyPatch) -> None:
    from moto.ec2.models.launch_templates import LaunchTemplate

    create_version = LaunchTemplate.create_version

    def without_own_tags(self: Any, data: dict[str, Any], description: str) -> Any:
        kept = [one for one in data.get("TagSpecifications", []) if one.get("ResourceType") != "launch-template"]
        return create_version(self, data | {"TagSpecifications": kept}, description)

    patch.setattr(LaunchTemplate, "create_version", without_own_tags)


def _extend_rds(patch: pytest.MonkeyPatch) -> None:
    from moto.rds.models import DBParameterGroup, RDSBackend

    create_db_instance, update_parameters = RDSBackend.create_db_instance, DBParameterGroup.update_parameters

    def with_insights(self: Any, db_kwargs: dict[str, Any]) -> Any:
        database = create_db_instance(self, db_kwargs)
        database.performance_insights_enabled = db_kwargs.get("enable_performance_insights")
        database.performance_insights_kms_key_id = db_kwargs.get("performance_insights_kms_key_id")
        return database

    def with_source(self: Any, parameters: Any) -> None:
        update_parameters(self, [{**one, "Source": "user"} for one in parameters])

    patch.setattr(RDSBackend, "create_db_instance", with_insights)
    patch.setattr(DBParameterGroup, "update_parameters", with_source)


def _extend_budgets(patch: pytest.MonkeyPatch) -> None:
    from moto.budgets.responses import BudgetsResponse

    def describe_subscribers_for_notification(self: Any) -> str:
        budget = self.backend.budgets[self._get_param("AccountId")][self._get_param("BudgetName")]
        wanted = self._get_param("Notification")
        found = [one for one in budget.notifications if all(one.details.get(key) == value for key, value in wanted.items())]
        return json.dumps({"Subscribers": [subscriber for one in found for subscriber in one.subscribers]})

    def list_tags_for_resource(self: Any) -> str:
        name = self._get_param("ResourceARN").rpartition("/")[2]
        return json.dumps({"ResourceTags": tags.get(name, [])})

    create_budget = BudgetsResponse.create_budget
    tags: dict[str, list[dict[str, str]]] = {}

    def create_with_tags(self: Any) -> str:
        tags[self._get_param("Budget")["BudgetName"]] = self._get_param("ResourceTags", [])
        return str(create_budget(self))

    patch.setattr(BudgetsResponse, "describe_subscribers_for_notification", describe_subscribers_for_notification, raising=False)
    patch.setattr(BudgetsResponse, "list_tags_for_resource", list_tags_for_resource, raising=False)
    patch.setattr(BudgetsResponse, "create_budget", create_with_tags)


def _extend_s3(patch: pytest.MonkeyPatch) -> None:
    from moto.s3.responses import S3Response

    configurations: dict[tuple[str, str], bytes] = {}
    handle = S3Response._bucket_response

    def with_metrics(self: Any, request: Any, full_url: str) -> Any:
        url = urlsplit(full_url)
        query = parse_qs(url.query, keep_blank_values=True)
        if "metrics" not in query:
            return handle(self, request, full_url)
        key = (url.path.strip("/"), query["id"][0])
        if request.method == "PUT":
            configurations[key] = request.data
            return 200, {}, ""
        if key not in configurations:
            return 404, {}, "<Error><Code>NoSuchConfiguration</Code><Message>none</Message></Error>"
        if request.method == "DELETE":
            del configurations[key]
            return 204, {}, ""
        return 200, {"Content-Type": "application/xml"}, configurations[key].decode()

    patch.setattr(S3Response, "_bucket_response", with_metrics)


def client(service: str, url: str) -> Any:
    """A boto3 client of the server at ``url``; the credentials are those of the environment."""
    import boto3

    make: Callable[..., Any] = boto3.client
    return make(service, endpoint_url=url, region_name=REGION)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without anything that would lead Terraform to a real account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    return kept | CREDENTIALS | {"AWS_EC2_METADATA_DISABLED": "true", "CHECKPOINT_DISABLE": "1"} | more
