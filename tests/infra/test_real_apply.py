"""envs/dev is really applied to an AWS on loopback, read back with boto3, planned again and destroyed.

About three minutes, nearly all of them fixed waits of the provider (80 s after a database, 55 s after a lifecycle rule, 60 s after a
deletion), so it is slow but not expensive.
"""

import json
from typing import Any

import pytest

from tests.infra.access_table import PREFIXES, RIGHTS, WRITE_ONCE, Rights
from tests.infra.iam import Request, is_allowed
from tests.infra.terraform import SOURCES
from tests.infra.world import ADMIN, OPERATOR, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NAME = "sightline-dev"
BUCKET = "acme-sightline-dev"
ACCOUNT = "123456789012"
CREATES = {"s3:if-none-match": "*", "s3:ObjectCreationOperation": "true"}
REPLACES = {"s3:ObjectCreationOperation": "true"}


@pytest.fixture(scope="module")
def applied(world: World) -> World:
    world.dev.run("apply", "-auto-approve", "-no-color", "-parallelism=20")
    return world


@pytest.fixture(scope="module")
def settings(applied: World) -> dict[str, str]:
    return applied.dev.output("settings")


@pytest.fixture(scope="module")
def bucket_policy(applied: World) -> dict[str, Any]:
    return json.loads(applied.aws("s3").get_bucket_policy(Bucket=BUCKET)["Policy"])


@pytest.fixture(scope="module")
def roles(applied: World, settings: dict[str, str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """ARN and policy of the role of each ServiceAccount, as the associations say."""
    eks, iam = applied.aws("eks"), applied.aws("iam")
    found = {}
    for summary in eks.list_pod_identity_associations(clusterName=NAME)["associations"]:
        one = eks.describe_pod_identity_association(clusterName=NAME, associationId=summary["associationId"])["association"]
        role = one["roleArn"].rpartition("/")[2]
        if iam.list_role_policies(RoleName=role)["PolicyNames"]:
            policy = iam.get_role_policy(RoleName=role, PolicyName="own-prefixes")["PolicyDocument"]
            found[f"{one['namespace']}/{one['serviceAccount']}"] = (one["roleArn"], policy)
    return found


# The cluster


def test_the_control_plane_is_private_logs_everything_and_encrypts_secrets(applied: World):
    cluster = applied.aws("eks").describe_cluster(name=NAME)["cluster"]
    assert cluster["resourcesVpcConfig"]["endpointPublicAccess"] is False
    assert cluster["resourcesVpcConfig"]["endpointPrivateAccess"] is True
    (logging,) = [one for one in cluster["logging"]["clusterLogging"] if one["enabled"]]
    assert set(logging["types"]) == {"api", "audit", "authenticator", "controllerManager", "scheduler"}
    (encryption,) = cluster["encryptionConfig"]
    assert encryption["resources"] == ["secrets"]
    assert applied.aws("kms").get_key_rotation_status(KeyId=encryption["provider"]["keyArn"])["KeyRotationEnabled"]
    assert cluster["accessConfig"]["authenticationMode"] == "API"


def test_only_the_named_administrators_have_access(applied: World):
    eks = applied.aws("eks")
    held = eks.list_associated_access_policies(clusterName=NAME, principalArn=ADMIN)["associatedAccessPolicies"]
    assert [one["policyArn"].rpartition("/")[2] for one in held] == ["AmazonEKSClusterAdminPolicy"]


@pytest.mark.parametrize("addon", ["vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns", "aws-ebs-csi-driver", "metrics-server"])
def test_the_addon_is_installed(applied: World, addon: str):
    found = applied.aws("eks").describe_addon(clusterName=NAME, addonName=addon)["addon"]
    assert found["status"] == "ACTIVE"
    if addon == "vpc-cni":
        assert json.loads(found["configurationValues"]) == {"enableNetworkPolicy": "true"}


@pytest.mark.parametrize(
    ("pool", "capacity", "kind", "taints"),
    [
        ("cpu", "on-demand", "ON_DEMAND", {}),
        ("gpu", "on-demand", "ON_DEMAND", {"nvidia.com/gpu": "true"}),
        ("gpu", "spot", "SPOT", {"nvidia.com/gpu": "true", "sightline.dev/spot": "true"}),
    ],
)
def test_a_pool_has_the_labels_and_taints_that_pods_are_placed_by(
    applied: World, pool: str, capacity: str, kind: str, taints: dict[str, str]
):
    name = f"{NAME}-{pool}" if pool == "cpu" else f"{NAME}-{pool}-{capacity}"
    group = applied.aws("eks").describe_nodegroup(clusterName=NAME, nodegroupName=name)["nodegroup"]
    assert group["labels"] == {"sightline.dev/pool": pool, "sightline.dev/capacity": capacity}
    assert {taint["key"]: taint["value"] for taint in group["taints"]} == taints
    assert {taint["effect"] for taint in group["taints"]} <= {"NO_SCHEDULE"}
    assert group["capacityType"] == kind
    assert group["amiType"] == ("AL2023_x86_64_STANDARD" if pool == "cpu" else "AL2023_x86_64_NVIDIA")
    assert group["scalingConfig"]["minSize"] == (2 if pool == "cpu" else 0)
    assert "ec2SshKey" not in group.get("remoteAccess", {})


@pytest.mark.parametrize("capacity", ["spot", "on-demand"])
def test_the_autoscaler_can_tell_what_a_node_of_an_empty_gpu_pool_would_be(applied: World, capacity: str):
    group = applied.aws("eks").describe_nodegroup(clusterName=NAME, nodegroupName=f"{NAME}-gpu-{capacity}")["nodegroup"]
    name = group["resources"]["autoScalingGroups"][0]["name"]
    (found,) = applied.aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    tags = {tag["Key"].removeprefix("k8s.io/cluster-autoscaler/"): tag["Value"] for tag in found["Tags"]}
    assert tags["enabled"] == "true"
    assert tags[NAME] == "owned"
    assert tags["node-template/resources/nvidia.com/gpu"] == "1"
    assert tags["node-template/label/sightline.dev/pool"] == "gpu"
    assert tags["node-template/label/sightline.dev/capacity"] == capacity
    assert tags["node-template/taint/nvidia.com/gpu"] == "true:NoSchedule"
    assert tags.get("node-template/taint/sightline.dev/spot") == ("true:NoSchedule" if capacity == "spot" else None)


@pytest.mark.parametrize("template", [f"{NAME}-cpu", f"{NAME}-gpu"])
def test_pods_cannot_reach_the_credentials_of_their_node_and_disks_are_encrypted(applied: World, template: str):
    found = applied.aws("ec2").describe_launch_template_versions(LaunchTemplateName=template)["LaunchTemplateVersions"][-1]
    data = found["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    (disk,) = data["BlockDeviceMappings"]
    assert (disk["Ebs"]["VolumeType"], disk["Ebs"]["Encrypted"]) == ("gp3", True)
    assert "KeyName" not in data


# The network


def test_nodes_are_in_private_subnets_with_a_route_to_s3_that_costs_nothing(applied: World):
    ec2 = applied.aws("ec2")
    group = applied.aws("eks").describe_nodegroup(clusterName=NAME, nodegroupName=f"{NAME}-gpu-spot")["nodegroup"]
    subnets = ec2.describe_subnets(SubnetIds=group["subnets"])["Subnets"]
    assert len({subnet["AvailabilityZone"] for subnet in subnets}) == 2
    for subnet in subnets:
        assert subnet["MapPublicIpOnLaunch"] is False
        assert {"Key": "kubernetes.io/role/internal-elb", "Value": "1"} in subnet["Tags"]
        (table,) = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet["SubnetId"]]}])["RouteTables"]
        assert not any(route.get("GatewayId", "").startswith("igw-") for route in table["Routes"])
    (endpoint,) = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [subnets[0]["VpcId"]]}])["VpcEndpoints"]
    assert endpoint["VpcEndpointType"] == "Gateway"


def test_traffic_is_recorded_and_the_default_security_group_lets_nothing_through(applied: World):
    ec2 = applied.aws("ec2")
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [NAME]}])["Vpcs"]
    (flow,) = ec2.describe_flow_logs(Filters=[{"Name": "resource-id", "Values": [vpc["VpcId"]]}])["FlowLogs"]
    assert flow["TrafficType"] == "ALL"
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["SecurityGroups"]
    (default,) = [group for group in groups if group["GroupName"] == "default"]
    assert default["IpPermissions"] == default["IpPermissionsEgress"] == []


# The bucket


def test_the_bucket_is_versioned_encrypted_with_its_own_key_private_and_logged(applied: World):
    s3 = applied.aws("s3")
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"].startswith("arn:aws:kms:")
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert s3.get_bucket_logging(Bucket=BUCKET)["LoggingEnabled"]["TargetBucket"] == f"{BUCKET}-logs"


def test_only_what_can_be_made_again_expires(applied: World):
    rules = applied.aws("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {rule["Filter"].get("Prefix") for rule in rules if "Expiration" in rule} == {"cache/", "jobs/"}
    assert not any(str(rule["Filter"].get("Prefix", "")).startswith("registry") for rule in rules)
    assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)


def _put(role: str, key: str, context: dict[str, str], **more: str) -> Request:
    return Request(role, "s3:PutObject", f"arn:aws:s3:::{BUCKET}/{key}", context | more)


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    """A policy that allows all: only the bucket's own policy is left to stop somebody."""
    return {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.mark.parametrize("prefix", WRITE_ONCE)
def test_a_record_is_created_once_and_never_replaced_even_by_an_administrator(
    bucket_policy: dict[str, Any], everything: dict[str, Any], prefix: str
):
    def may(context: dict[str, str]) -> bool:
        return is_allowed(_put(ADMIN, f"{prefix}00000001.json", context), identity=[everything], resource=[bucket_policy])

    assert may(CREATES)
    assert not may(REPLACES)
    assert not may({"s3:if-match": '"etag"', **REPLACES})
    assert may({"s3:ObjectCreationOperation": "false"})  # the parts of a multipart upload; completing it is a creation again


def test_bundles_in_the_registry_are_uploaded_in_parts_and_are_not_write_once(bucket_policy: dict[str, Any], everything: dict[str, Any]):
    assert is_allowed(_put(ADMIN, "registry/models/d/model.onnx", REPLACES), identity=[everything], resource=[bucket_policy])


def test_without_the_write_once_statement_a_record_could_be_replaced(bucket_policy: dict[str, Any], everything: dict[str, Any]):
    weaker = bucket_policy | {"Statement": [one for one in bucket_policy["Statement"] if one["Sid"] != "WriteOnce"]}
    assert is_allowed(_put(ADMIN, "registry/ledger/1", REPLACES), identity=[everything], resource=[weaker])


@pytest.mark.parametrize("action", ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"])
def test_nobody_but_the_break_glass_role_removes_anything_from_the_registry(
    bucket_policy: dict[str, Any], everything: dict[str, Any], action: str
):
    def may(principal: str, key: str) -> bool:
        request = Request(principal, action, f"arn:aws:s3:::{BUCKET}/{key}")
        return is_allowed(request, identity=[everything], resource=[bucket_policy])

    assert not may(ADMIN, "registry/models/d/manifest.json")
    assert may(f"arn:aws:iam::{ACCOUNT}:role/{NAME}-break-glass", "registry/models/d/manifest.json")
    assert may(ADMIN, "cache/train/k/manifest.json")


def test_the_break_glass_role_needs_a_second_factor(applied: World):
    (statement,) = applied.aws("iam").get_role(RoleName=f"{NAME}-break-glass")["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}


def test_plain_http_is_refused(bucket_policy: dict[str, Any], everything: dict[str, Any]):
    request = Request(ADMIN, "s3:GetObject", f"arn:aws:s3:::{BUCKET}/data/x", {"aws:SecureTransport": "false"})
    assert not is_allowed(request, identity=[everything], resource=[bucket_policy])


def test_objects_are_encrypted_with_our_key_or_not_written(
    bucket_policy: dict[str, Any], everything: dict[str, Any], settings: dict[str, str]
):
    algorithm, key = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"

    def may(context: dict[str, str]) -> bool:
        return is_allowed(_put(ADMIN, "cache/train/k/f", REPLACES | context), identity=[everything], resource=[bucket_policy])

    assert may({})  # the bucket's default is our key
    assert may({algorithm: "aws:kms", key: settings["kms_key_arn"]})
    assert not may({algorithm: "AES256"})
    assert not may({algorithm: "aws:kms", key: f"arn:aws:kms:us-east-1:{ACCOUNT}:key/another"})


# Who may do what


def _rights(role: str, policy: dict[str, Any], bucket_policy: dict[str, Any]) -> tuple[set[str], set[str], set[str]]:
    """Prefixes that a role really reads, writes to and deletes from, by asking for one key below each."""

    def may(action: str, prefix: str) -> bool:
        context = CREATES if action == "s3:PutObject" else {}
        return is_allowed(
            Request(role, action, f"arn:aws:s3:::{BUCKET}/{prefix}some/key", context), identity=[policy], resource=[bucket_policy]
        )

    return tuple({prefix for prefix in PREFIXES if may(action, prefix)} for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"))


def _expected(rights: Rights) -> tuple[set[str], set[str], set[str]]:
    return set(rights.everything), set(rights.writes | rights.deletes), set(rights.deletes)


@pytest.mark.parametrize("account", RIGHTS)
def test_an_account_has_exactly_the_rights_of_the_table(
    roles: dict[str, tuple[str, dict[str, Any]]], bucket_policy: dict[str, Any], account: str
):
    role, policy = roles[account]
    assert _rights(role, policy, bucket_policy) == _expected(RIGHTS[account])


def test_one_right_too_many_is_noticed(roles: dict[str, tuple[str, dict[str, Any]]], bucket_policy: dict[str, Any]):
    role, policy = roles["sightline/sightline-train"]
    generous = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"arn:aws:s3:::{BUCKET}/registry/ledger/*"]}
    doctored = policy | {"Statement": [*policy["Statement"], generous]}
    assert _rights(role, doctored, bucket_policy) != _expected(RIGHTS["sightline/sightline-train"])


@pytest.mark.parametrize("account", RIGHTS)
def test_an_account_lists_and_misses_objects_only_where_it_reads(roles: dict[str, tuple[str, dict[str, Any]]], account: str):
    role, policy = roles[account]
    listed = {
        prefix
        for prefix in PREFIXES
        if is_allowed(Request(role, "s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": f"{prefix}some"}), identity=[policy])
    }
    assert listed == RIGHTS[account].everything
    assert not is_allowed(Request(role, "s3:ListBucket", f"arn:aws:s3:::{BUCKET}"), identity=[policy])


@pytest.mark.parametrize("account", RIGHTS)
def test_the_key_can_be_used_through_s3_only(roles: dict[str, tuple[str, dict[str, Any]]], settings: dict[str, str], account: str):
    role, policy = roles[account]

    def may(service: str) -> bool:
        request = Request(role, "kms:Decrypt", settings["kms_key_arn"], {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"})
        return is_allowed(request, identity=[policy])

    assert may("s3")
    assert not may("ec2")


def test_no_role_of_an_account_has_a_wildcard_action_and_only_reads_that_know_no_resource_have_a_wildcard_resource(
    roles: dict[str, tuple[str, dict[str, Any]]],
):
    assert set(roles) == {*RIGHTS, "external-secrets/external-secrets", "kube-system/cluster-autoscaler"}
    for account, (_, policy) in roles.items():
        for statement in policy["Statement"]:
            assert not any("*" in action for action in statement["Action"]), account
            if statement["Resource"] == "*":
                assert account == "kube-system/cluster-autoscaler"
                assert all(action.split(":")[1].startswith(("Describe", "Get")) for action in statement["Action"])


@pytest.mark.parametrize("account", [*RIGHTS, "external-secrets/external-secrets", "kube-system/cluster-autoscaler"])
def test_a_role_can_be_assumed_by_its_own_account_in_this_cluster_only(
    applied: World, roles: dict[str, tuple[str, dict[str, Any]]], account: str
):
    namespace, name = account.split("/")
    (statement,) = applied.aws("iam").get_role(RoleName=roles[account][0].rpartition("/")[2])["Role"]["AssumeRolePolicyDocument"][
        "Statement"
    ]
    assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {
        "aws:RequestTag/kubernetes-namespace": namespace,
        "aws:RequestTag/kubernetes-service-account": name,
    }
    assert statement["Condition"]["ArnEquals"] == {"aws:RequestTag/eks-cluster-arn": f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/{NAME}"}


def test_people_decide_and_steps_do_not(applied: World, bucket_policy: dict[str, Any]):
    iam = applied.aws("iam")
    policy = iam.get_role_policy(RoleName=f"{NAME}-operator", PolicyName="decide")["PolicyDocument"]
    role = iam.get_role(RoleName=f"{NAME}-operator")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"AWS": [OPERATOR]}
    _, writes, deletes = _rights(role["Arn"], policy, bucket_policy)
    assert writes == {f"registry/{kind}/" for kind in ("approvals", "overrides", "audits", "ledger")}
    assert not deletes
    decisions = {"registry/approvals/", "registry/overrides/", "registry/audits/"}
    assert not any(decisions & (rights.writes | rights.deletes) for rights in RIGHTS.values())


def test_external_secrets_reads_the_database_password_and_no_other_secret(
    roles: dict[str, tuple[str, dict[str, Any]]], settings: dict[str, str]
):
    role, policy = roles["external-secrets/external-secrets"]

    def may(secret: str) -> bool:
        return is_allowed(Request(role, "secretsmanager:GetSecretValue", secret), identity=[policy])

    assert may(settings["mlflow_database_secret"])
    assert may(f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:{NAME}/mlflow-admin-AbCdEf")
    assert not may(f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:payroll-AbCdEf")


# Images, database, money


@pytest.mark.parametrize("image", ["python-base", "python-train", "python-compile", "python-serve"])
def test_a_repository_is_immutable_scanned_and_encrypted(applied: World, settings: dict[str, str], image: str):
    ecr = applied.aws("ecr")
    (found,) = ecr.describe_repositories(repositoryNames=[f"{NAME}/{image}"])["repositories"]
    assert found["imageTagMutability"] == "IMMUTABLE"
    assert found["imageScanningConfiguration"]["scanOnPush"] is True
    assert found["encryptionConfiguration"]["encryptionType"] == "KMS"
    assert ecr.get_lifecycle_policy(repositoryName=f"{NAME}/{image}")["lifecyclePolicyText"]
    assert settings["registry_prefix"] == f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{NAME}"


def test_the_database_is_private_encrypted_and_has_a_password_that_nobody_chose(applied: World, settings: dict[str, str]):
    rds = applied.aws("rds")
    (found,) = rds.describe_db_instances(DBInstanceIdentifier=f"{NAME}-mlflow")["DBInstances"]
    assert found["PubliclyAccessible"] is False
    assert found["StorageEncrypted"] is True
    assert found["IAMDatabaseAuthenticationEnabled"] is True
    assert found["MasterUserSecret"]["SecretArn"] == settings["mlflow_database_secret"]
    assert found["BackupRetentionPeriod"] == 3
    parameters = rds.describe_db_parameters(DBParameterGroupName=f"{NAME}-mlflow")["Parameters"]
    assert {one["ParameterName"]: one["ParameterValue"] for one in parameters}["rds.force_ssl"] == "1"


def test_the_budget_tells_before_the_month_is_over(applied: World):
    budgets = applied.aws("budgets")
    budget = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=f"{NAME}-month")["Budget"]
    assert float(budget["BudgetLimit"]["Amount"]) == 600
    assert budget["CostFilters"] == {"TagKeyValue": [f"user:environment${NAME}"]}
    notifications = budgets.describe_notifications_for_budget(AccountId=ACCOUNT, BudgetName=f"{NAME}-month")["Notifications"]
    assert {(one["NotificationType"], one["Threshold"]) for one in notifications} >= {("ACTUAL", 80.0), ("FORECASTED", 100.0)}


def test_alarms_watch_idle_gpus_the_bucket_and_the_database(applied: World, settings: dict[str, str]):
    alarms = {one["AlarmName"].removeprefix(f"{NAME}-"): one for one in applied.aws("cloudwatch").describe_alarms()["MetricAlarms"]}
    assert set(alarms) == {
        *("gpu-idle-gpu-spot", "gpu-idle-gpu-on-demand", "gpu-long-gpu-spot", "gpu-long-gpu-on-demand"),
        *("bucket-4xx", "bucket-5xx", "storage-mlflow"),
    }
    assert all(one["AlarmActions"] == [settings["alarm_topic_arn"]] for one in alarms.values())
    groups = {group["AutoScalingGroupName"] for group in applied.aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]}
    assert {one["Dimensions"][0]["Value"] for name, one in alarms.items() if name.startswith("gpu-")} <= groups


def test_alarms_are_encrypted_and_only_aws_services_send_them(applied: World, settings: dict[str, str]):
    attributes = applied.aws("sns").get_topic_attributes(TopicArn=settings["alarm_topic_arn"])["Attributes"]
    assert attributes["KmsMasterKeyId"].startswith("arn:aws:kms:")
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    assert "AWS" not in statement["Principal"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


# What the overlay and the library get


def test_the_settings_are_strings_and_name_a_role_for_every_account(settings: dict[str, str]):
    assert all(isinstance(value, str) and value for value in settings.values())
    assert settings["bucket"] == BUCKET
    assert settings["cluster_name"] == NAME
    for account in RIGHTS:
        assert settings[f"role_arn_{account.split('/')[1].replace('-', '_')}"].startswith(f"arn:aws:iam::{ACCOUNT}:role/")


def test_the_settings_hold_every_name_that_the_overlay_for_aws_reads(settings: dict[str, str]):
    example = (SOURCES.parents[1] / "manifests" / "overlays" / "prod" / "settings" / "settings.env.example").read_text()
    names = {line.partition("=")[0] for line in example.splitlines() if "=" in line and not line.startswith("#")}
    assert names - set(settings) == {"serving_domain"}  # your own domain: Terraform does not know it
    assert f"{settings['registry_host']}/{settings['registry_path']}" == settings["registry_prefix"]


def test_the_prices_have_the_form_that_the_library_reads(applied: World):
    prices = applied.dev.output("prices")
    assert prices["currency"] == "USD"
    assert set(prices["pools"]) == {"cpu", "gpu"}
    assert all(set(pool) == {"per_hour", "spot_per_hour", "gpus"} for pool in prices["pools"].values())
    assert (prices["pools"]["cpu"]["gpus"], prices["pools"]["gpu"]["gpus"]) == (0, 1)


# The life of an environment; these three come last


def test_a_second_plan_has_nothing_to_do(applied: World):
    done = applied.dev.run("plan", "-detailed-exitcode", "-no-color", "-parallelism=20", check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_a_change_that_somebody_made_by_hand_is_noticed(applied: World):
    s3 = applied.aws("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    target = "-target=module.platform.module.artifact_store.aws_s3_bucket_versioning.this"
    done = applied.dev.run("plan", "-detailed-exitcode", "-no-color", target, check=False)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    assert done.returncode == 2, done.stdout[-2000:] + done.stderr[-2000:]


def test_destroy_leaves_nothing(applied: World):
    applied.dev.run("destroy", "-auto-approve", "-no-color", "-parallelism=20")
    assert applied.dev.run("state", "list").stdout == ""
    assert applied.aws("eks").list_clusters()["clusters"] == []
    assert applied.aws("s3").list_buckets()["Buckets"] == []
    assert applied.aws("rds").describe_db_instances()["DBInstances"] == []
