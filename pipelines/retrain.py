"""The whole system on one screen."""

from kfp import dsl

import components
from pipelines._parameters import DEFAULT, parameters
from pipelines._placement import place

_DEFAULT = parameters("retrain", DEFAULT)
_WEEK_S, _LONGEST_S = 7 * 24 * 3600, 3 * 24 * 3600  # the longest: training, and a day for a person to approve


@dsl.pipeline(
    name="retrain",
    description="Retrains a vision model and ships it only if it is not worse.",
    pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=_WEEK_S, active_deadline_seconds=_LONGEST_S),
)
def retrain(  # noqa: PLR0917 - each parameter is a field of the form
    run_id: str = "",
    source: str = _DEFAULT["source"],
    pin: str = _DEFAULT["pin"],
    epochs: int = _DEFAULT["epochs"],
    num_nodes: int = _DEFAULT["num_nodes"],
    gpus: str = _DEFAULT["gpus"],
    gpu_resource: str = _DEFAULT["gpu_resource"],
    node_selector: dict = _DEFAULT["node_selector"],
    tolerations: list = _DEFAULT["tolerations"],
    affinity: dict = _DEFAULT["affinity"],
    ingest: dict = _DEFAULT["ingest"],
    tune: dict = _DEFAULT["tune"],
    train: dict = _DEFAULT["train"],
    gate: dict = _DEFAULT["gate"],
    compile: dict = _DEFAULT["compile"],  # noqa: A002 - one word per idea: the section's name
    deploy: dict = _DEFAULT["deploy"],
    store: dict = _DEFAULT["store"],
    cluster: dict = _DEFAULT["cluster"],
):
    """Ingest, tune, train, gate, compile, gate again what will ship, canary."""
    run = {"store": store, "run_id": run_id}
    job = {"train": train, "epochs": epochs, "num_nodes": num_nodes, "gpus": gpus, "cluster": cluster, **run}
    pool = {"gpus": gpus, "gpu_resource": gpu_resource, "node_selector": node_selector, "tolerations": tolerations, "affinity": affinity}

    with dsl.ExitHandler(place(components.report(cluster=cluster, **run), "light"), name="always reported"):
        data = place(components.ingest(ingest=ingest, source=source, pin=pin, **run), "cpu").outputs["dataset"]
        tuned = place(components.tune(dataset=data, tune=tune, **job), "train", pool).outputs["tuned"]
        model = place(components.train(dataset=data, tuned=tuned, **job), "train", pool).outputs["model"]
        trained = place(components.gate(candidate=model, dataset=data, stage="trained", gate=gate, **run), "cpu")

        with dsl.If(trained.outputs["Output"] == "pass", name="trained model passes"):
            compiled = place(components.compile(model=model, dataset=data, compile=compile, **run), "compile").outputs["compiled"]
            shipping = place(components.gate(candidate=compiled, dataset=data, stage="compiled", gate=gate, **run), "cpu")

            with dsl.If(shipping.outputs["Output"] == "pass", name="compiled model passes"):
                evidence = {"verdict": shipping.outputs["verdict"], "dataset": data}
                place(components.deploy(model=compiled, **evidence, deploy=deploy, cluster=cluster, **run), "deploy")
            with dsl.Else(name="compiled model refused"):
                place(components.reject(verdict=shipping.outputs["verdict"], **run), "light")

        with dsl.Else(name="trained model refused"):
            place(components.reject(verdict=trained.outputs["verdict"], **run), "light")
