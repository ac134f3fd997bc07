"""Who may talk to whom, worked out from the rendered NetworkPolicies."""

import pytest

from tests.manifests.network import Network, Outside, Pod
from tests.manifests.objects import ENVIRONMENTS, ROOT

STEP = Pod("sightline", {"workflows.argoproj.io/workflow": "retrain-1", "pipeline/runid": "1"})
ARGO_STEP = Pod("sightline", {"workflows.argoproj.io/workflow": "sightline-retrain-1", "sightline.dev/step": "train"})
NODE = Pod("sightline", {"jobset.sigs.k8s.io/jobset-name": "train-1"})
RAY_HEAD = Pod("sightline", {"ray.io/cluster": "tune-1", "ray.io/node-type": "head"})
RAY_WORKER = Pod("sightline", {"ray.io/cluster": "tune-1", "ray.io/node-type": "worker"})
RAY_SUBMITTER = Pod("sightline", {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "tune-1"})
KUBERAY = Pod("kuberay-operator", {"app.kubernetes.io/name": "kuberay-operator"})
STRANGER_HERE = Pod("sightline", {"app": "notebook"})
STRANGER = Pod("default", {"app": "shell"})
SERVER = Pod("sightline-serving", {"serving.kserve.io/inferenceservice": "shapes", "component": "predictor"})
GATEWAY = Pod(
    "envoy-gateway-system",
    {"gateway.envoyproxy.io/owning-gateway-namespace": "sightline-serving", "gateway.envoyproxy.io/owning-gateway-name": "sightline"},
)
OTHER_GATEWAY = Pod(
    "envoy-gateway-system",
    {"gateway.envoyproxy.io/owning-gateway-namespace": "shop", "gateway.envoyproxy.io/owning-gateway-name": "shop"},
)
PROMETHEUS = Pod("monitoring", {"app.kubernetes.io/name": "prometheus"})
MLFLOW = Pod("sightline-tracking", {"app.kubernetes.io/name": "mlflow"})
POSTGRES = Pod("sightline-tracking", {"app.kubernetes.io/name": "postgres"})
DNS = Pod("kube-system", {"k8s-app": "kube-dns"})
KFP_API = Pod("sightline", {"application-crd-id": "kubeflow-pipelines", "app": "ml-pipeline"})
KFP_DATABASE = Pod("sightline", {"application-crd-id": "kubeflow-pipelines", "app": "mysql"})
WEBHOOK = Pod("sightline", {"controller": "eventsource-controller", "eventsource-name": "sightline-drift"})
SENSOR = Pod("sightline", {"controller": "sensor-controller", "sensor-name": "sightline-drift"})
BUS = Pod("sightline", {"controller": "eventbus-controller", "eventbus-name": "default"})
PLUGIN = Pod("sightline-gpu", {"app.kubernetes.io/name": "nvidia-device-plugin"})

S3 = Outside("52.219.170.1")
METADATA = Outside("169.254.169.254")
POD_IDENTITY = Outside("169.254.170.23")
KUBERNETES = Outside("10.30.1.9")
DATABASE = Outside("10.30.2.7")
OURS = (STEP, NODE, RAY_HEAD, RAY_WORKER, SERVER, MLFLOW, POSTGRES, KFP_API, SENSOR, STRANGER_HERE)

ALLOWED = [
    (STEP, DNS, 53),
    (STEP, S3, 443),
    (STEP, POD_IDENTITY, 80),
    (STEP, KUBERNETES, 443),
    (ARGO_STEP, KUBERNETES, 443),
    (STEP, MLFLOW, 5000),
    (STEP, KFP_API, 8888),
    (STEP, KFP_API, 8887),
    (STEP, SERVER, 8080),
    (STEP, SERVER, 8081),
    (STEP, WEBHOOK, 12000),
    (NODE, NODE, 29500),
    (NODE, S3, 443),
    (NODE, MLFLOW, 5000),
    (RAY_WORKER, RAY_HEAD, 6379),
    (RAY_HEAD, RAY_WORKER, 10005),
    (KUBERAY, RAY_HEAD, 8265),
    (GATEWAY, SERVER, 8080),
    (PROMETHEUS, SERVER, 8081),
    (SERVER, S3, 443),
    (SERVER, POD_IDENTITY, 80),
    (MLFLOW, DATABASE, 5432),
    (MLFLOW, S3, 443),
    (KFP_API, KFP_DATABASE, 3306),
    (KFP_API, KUBERNETES, 443),
    (WEBHOOK, BUS, 4222),
    (SENSOR, BUS, 4222),
    (SENSOR, KUBERNETES, 443),
    (BUS, BUS, 6222),
]
DENIED = [
    (STRANGER, RAY_HEAD, 8265),
    (STRANGER_HERE, RAY_HEAD, 8265),
    (STRANGER_HERE, RAY_HEAD, 10001),
    (STEP, RAY_HEAD, 8265),
    (STEP, RAY_HEAD, 6379),
    (NODE, RAY_HEAD, 6379),
    (KUBERAY, RAY_HEAD, 6379),
    (RAY_SUBMITTER, RAY_HEAD, 8265),
    (RAY_SUBMITTER, RAY_HEAD, 6379),
    (STRANGER, NODE, 29500),
    (STRANGER_HERE, NODE, 29500),
    (RAY_WORKER, NODE, 29500),
    (NODE, KUBERNETES, 443),
    (SERVER, KUBERNETES, 443),
    (STRANGER_HERE, KUBERNETES, 443),
    (STRANGER, MLFLOW, 5000),
    (STRANGER_HERE, MLFLOW, 5000),
    (SERVER, MLFLOW, 5000),
    (GATEWAY, MLFLOW, 5000),
    (STEP, DATABASE, 5432),
    (SERVER, DATABASE, 5432),
    (STRANGER, SERVER, 8080),
    (OTHER_GATEWAY, SERVER, 8080),
    (GATEWAY, SERVER, 8081),
    (PROMETHEUS, SERVER, 8080),
    (SERVER, SERVER, 8080),
    (STRANGER_HERE, WEBHOOK, 12000),
    (STRANGER, WEBHOOK, 12000),
    (STRANGER_HERE, BUS, 4222),
    (STEP, BUS, 4222),
    (STRANGER_HERE, KFP_API, 8888),
    (STEP, KFP_DATABASE, 3306),
    (STEP, STRANGER, 443),
    (STEP, Outside("203.0.113.5"), 80),
    (STEP, Outside("203.0.113.5"), 22),
    (PLUGIN, S3, 443),
    (PLUGIN, DNS, 53),
]


def _line(case):
    source, target, port = case
    return f"{source.name}->{target.name}:{port}"


@pytest.fixture
def network(prod, prod_argo):
    """Policies only add up, so these are what Kubeflow and plain Argo each have together."""
    return Network([*prod.of_kind("NetworkPolicy"), *prod_argo.of_kind("NetworkPolicy")])


@pytest.mark.parametrize("case", ALLOWED, ids=_line)
def test_what_the_code_needs_is_allowed(case, network):
    assert network.allows(*case)


@pytest.mark.parametrize("case", DENIED, ids=_line)
def test_what_nothing_needs_is_denied(case, network):
    assert not network.allows(*case)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_pod_reaches_the_metadata_of_its_machine(environment, overlays):
    network = Network(overlays[environment].of_kind("NetworkPolicy"))
    assert [(pod.name, port) for pod in OURS for port in (80, 443) if network.allows(pod, METADATA, port)] == []


def test_dev_reaches_its_own_database_and_object_store(dev):
    network = Network(dev.of_kind("NetworkPolicy"))
    seaweedfs = Pod("sightline", {"application-crd-id": "kubeflow-pipelines", "app": "seaweedfs"})
    assert network.allows(MLFLOW, POSTGRES, 5432)
    assert not network.allows(STEP, POSTGRES, 5432)
    assert network.allows(STEP, seaweedfs, 8333)
    assert not network.allows(STEP, POD_IDENTITY, 80), "pods of dev have keys in a file, not an agent"


def test_without_the_default_denial_a_stranger_gets_in(prod):
    """The evaluator itself must be able to say yes: an empty set of policies is an open network."""
    policies = [policy for policy in prod.of_kind("NetworkPolicy") if policy["metadata"]["namespace"] != "sightline-serving"]
    assert Network(policies).allows(STRANGER, SERVER, 8080)


def test_a_policy_that_lets_everything_in_is_seen(prod):
    hole = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "hole", "namespace": "sightline"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
    }
    assert Network([*prod.of_kind("NetworkPolicy"), hole]).allows(STRANGER, RAY_HEAD, 8265)


def test_every_namespace_denies_by_default_in_both_directions(overlay):
    namespaces = {body["metadata"]["name"] for body in overlay.of_kind("Namespace")}
    denials = {
        policy["metadata"]["namespace"]
        for policy in overlay.of_kind("NetworkPolicy")
        if policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    assert denials == namespaces


def test_no_placeholder_address_is_left(overlay):
    assert "192.0.2.0" not in overlay.text


def test_the_job_is_handed_in_the_way_that_the_policies_expect():
    """HTTPMode: KubeRay itself talks to the head, and there is no submitter's pod that would have to."""
    assert '"submissionMode": "HTTPMode"' in (ROOT / "src" / "sightline" / "tune" / "rayjob.py").read_text()
