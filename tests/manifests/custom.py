"""The custom resources that we write, as strict models of the fields that we use.

The CRDs themselves belong to other projects and are not part of this repository; all rendered objects were validated against them once
(Kueue 0.19, KServe shortly before 0.21, External Secrets 2.9, Gateway API 1.6, Envoy Gateway 1.9, Prometheus operator 0.93, Argo Workflows
4.1, Argo Events 1.9). A field that is misspelt or in the wrong place is an error here, as it is for a server with strict field validation.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Duration = Annotated[str, StringConstraints(pattern=r"^(\d+(ms|s|m|h|d))+$")]
Quantity = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?([kKMGTPE]i?|m)?$")]
Selector = dict[str, Any]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Metadata(Strict):
    name: str
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Custom(Strict):
    apiVersion: str
    kind: str
    metadata: Metadata


class Taint(Strict):
    key: str
    value: str = ""
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"]


class FlavorSpec(Strict):
    nodeLabels: dict[str, str]
    nodeTaints: list[Taint] = []


class ResourceFlavor(Custom):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    spec: FlavorSpec


class FlavorQuota(Strict):
    name: str
    nominalQuota: Quantity


class FlavorQuotas(Strict):
    name: str
    resources: list[FlavorQuota]


class ResourceGroup(Strict):
    coveredResources: list[str]
    flavors: list[FlavorQuotas]


class Fungibility(Strict):
    whenCanBorrow: Literal["MayStopSearch", "TryNextFlavor"]
    whenCanPreempt: Literal["MayStopSearch", "TryNextFlavor"]


class Preemption(Strict):
    withinClusterQueue: Literal["Never", "LowerPriority", "LowerOrNewerEqualPriority"]
    reclaimWithinCohort: Literal["Never", "LowerPriority", "Any"]


class ClusterQueueSpec(Strict):
    namespaceSelector: Selector
    queueingStrategy: Literal["StrictFIFO", "BestEffortFIFO"]
    flavorFungibility: Fungibility
    preemption: Preemption
    resourceGroups: list[ResourceGroup]


class ClusterQueue(Custom):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    spec: ClusterQueueSpec


class LocalQueueSpec(Strict):
    clusterQueue: str


class LocalQueue(Custom):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    spec: LocalQueueSpec


class WorkloadPriorityClass(Custom):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    value: int
    description: str


class AwsProvider(Strict):
    service: Literal["SecretsManager"]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]


class Provider(Strict):
    aws: AwsProvider


class SecretStoreSpec(Strict):
    provider: Provider


class SecretStore(Custom):
    apiVersion: Literal["external-secrets.io/v1"]
    spec: SecretStoreSpec


class StoreRef(Strict):
    kind: Literal["SecretStore"]
    name: str


class SecretTemplate(Strict):
    engineVersion: Literal["v2"]
    data: dict[str, str]


class SecretTarget(Strict):
    name: str
    creationPolicy: Literal["Owner", "Orphan", "Merge", "None"]
    deletionPolicy: Literal["Retain", "Delete", "Merge"]
    template: SecretTemplate


class RemoteRef(Strict):
    key: str
    property: str


class SecretEntry(Strict):
    secretKey: str
    remoteRef: RemoteRef


class ExternalSecretSpec(Strict):
    refreshPolicy: Literal["Periodic", "CreatedOnce", "OnChange"]
    refreshInterval: Duration
    secretStoreRef: StoreRef
    target: SecretTarget
    data: list[SecretEntry]


class ExternalSecret(Custom):
    apiVersion: Literal["external-secrets.io/v1"]
    spec: ExternalSecretSpec


class CertificateRef(Strict):
    kind: Literal["Secret"]
    name: str


class ListenerTls(Strict):
    mode: Literal["Terminate", "Passthrough"]
    certificateRefs: list[CertificateRef]


class RouteKind(Strict):
    group: Literal["gateway.networking.k8s.io"]
    kind: Literal["HTTPRoute", "GRPCRoute"]


class RouteNamespaces(Strict):
    from_: Literal["Same", "All", "Selector"] = Field(alias="from")


class AllowedRoutes(Strict):
    namespaces: RouteNamespaces
    kinds: list[RouteKind]


class Listener(Strict):
    name: str
    port: int
    protocol: Literal["HTTP", "HTTPS"]
    hostname: Annotated[str, StringConstraints(pattern=r"^(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*$")]
    tls: ListenerTls | None = None
    allowedRoutes: AllowedRoutes


class GatewaySpec(Strict):
    gatewayClassName: str
    listeners: list[Listener]


class Gateway(Custom):
    apiVersion: Literal["gateway.networking.k8s.io/v1"]
    spec: GatewaySpec


class TargetRef(Strict):
    group: Literal["gateway.networking.k8s.io"]
    kind: Literal["Gateway"]
    name: str


class ClientHttpTimeout(Strict):
    requestReceivedTimeout: Duration
    idleTimeout: Duration


class ClientTimeout(Strict):
    http: ClientHttpTimeout


class ConnectionLimit(Strict):
    value: int
    closeDelay: Duration


class ClientConnection(Strict):
    connectionLimit: ConnectionLimit
    bufferLimit: Quantity


class ClientTls(Strict):
    minVersion: Literal["1.2", "1.3"]


class ClientTrafficPolicySpec(Strict):
    targetRefs: list[TargetRef]
    timeout: ClientTimeout
    connection: ClientConnection
    tls: ClientTls | None = None


class ClientTrafficPolicy(Custom):
    apiVersion: Literal["gateway.envoyproxy.io/v1alpha1"]
    spec: ClientTrafficPolicySpec


class TcpTimeout(Strict):
    connectTimeout: Duration


class BackendHttpTimeout(Strict):
    connectionIdleTimeout: Duration


class BackendTimeout(Strict):
    tcp: TcpTimeout
    http: BackendHttpTimeout


class CircuitBreaker(Strict):
    maxPendingRequests: int
    maxParallelRequests: int
    maxParallelRetries: int


class RetryOn(Strict):
    triggers: list[Literal["connect-failure"]]


class Retry(Strict):
    numRetries: int
    retryOn: RetryOn


class BackendTrafficPolicySpec(Strict):
    targetRefs: list[TargetRef]
    timeout: BackendTimeout
    circuitBreaker: CircuitBreaker
    retry: Retry


class BackendTrafficPolicy(Custom):
    apiVersion: Literal["gateway.envoyproxy.io/v1alpha1"]
    spec: BackendTrafficPolicySpec


class IssuerRef(Strict):
    group: Literal["cert-manager.io"]
    kind: Literal["Issuer", "ClusterIssuer"]
    name: str


class PrivateKey(Strict):
    algorithm: Literal["ECDSA", "RSA"]
    size: int
    rotationPolicy: Literal["Always", "Never"]


class CertificateSpec(Strict):
    secretName: str
    dnsNames: list[str]
    issuerRef: IssuerRef
    privateKey: PrivateKey
    duration: Duration
    renewBefore: Duration


class Certificate(Custom):
    apiVersion: Literal["cert-manager.io/v1"]
    spec: CertificateSpec


class Rule(Strict):
    record: str = ""
    alert: str = ""
    expr: str
    for_: Duration | None = Field(None, alias="for")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class RuleGroup(Strict):
    name: str
    interval: Duration | None = None
    rules: list[Rule]


class PrometheusRuleSpec(Strict):
    groups: list[RuleGroup]


class PrometheusRule(Custom):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    spec: PrometheusRuleSpec


class Endpoint(Strict):
    port: str
    path: str
    interval: Duration
    scrapeTimeout: Duration


class PodMonitorSpec(Strict):
    selector: Selector
    podMetricsEndpoints: list[Endpoint]
    sampleLimit: int


class PodMonitor(Custom):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    spec: PodMonitorSpec


class ModelFormat(Strict):
    name: str
    version: str | None = None
    autoSelect: bool = False
    priority: int | None = None


class ServingRuntimeSpec(Strict):
    """The containers themselves are checked as those of a pod."""

    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    supportedModelFormats: list[ModelFormat] = []
    protocolVersions: list[Literal["v1", "v2", "grpc-v1", "grpc-v2"]] = []
    multiModel: bool = False
    disabled: bool = False
    containers: list[dict[str, Any]]
    volumes: list[dict[str, Any]] = []
    nodeSelector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    affinity: dict[str, Any] = {}


class ServingRuntime(Custom):
    apiVersion: Literal["serving.kserve.io/v1alpha1"]
    spec: ServingRuntimeSpec


class ContainerTemplate(Strict):
    resources: dict[str, Any]
    securityContext: dict[str, Any]


class JetStream(Strict):
    version: str
    replicas: Annotated[int, Field(ge=3)]
    serviceAccountName: str
    priorityClassName: str
    securityContext: dict[str, Any]
    containerTemplate: ContainerTemplate
    reloaderContainerTemplate: ContainerTemplate
    metricsContainerTemplate: ContainerTemplate


class EventBusSpec(Strict):
    jetstream: JetStream


class EventBus(Custom):
    apiVersion: Literal["argoproj.io/v1alpha1"]
    spec: EventBusSpec


MODELS: dict[str, type[Custom]] = {
    model.__name__: model
    for model in (
        ResourceFlavor,
        ClusterQueue,
        LocalQueue,
        WorkloadPriorityClass,
        SecretStore,
        ExternalSecret,
        Gateway,
        ClientTrafficPolicy,
        BackendTrafficPolicy,
        Certificate,
        PrometheusRule,
        PodMonitor,
        ServingRuntime,
        EventBus,
    )
}
