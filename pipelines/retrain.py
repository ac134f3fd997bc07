"""The whole system on one screen."""

from kfp import dsl

import components
from pipelines._placement import place
from sightline.config.run import RunConfig

# Kubeflow has no null in a dict parameter; a key that is left out has its default, which is null for these.
_DEFAULT = RunConfig().model_dump(mode="json", exclude_none=True)


@dsl.pipeline(name="retrain", description="Retrains a vision model and ships it only if it is not worse.")
def retrain(
    run_id: str,
    ingest: dict = _DEFAULT["ingest"],
    tune: dict = _DEFAULT["tune"],
    train: dict = _DEFAULT["train"],
    gate: dict = _DEFAULT["gate"],
    compile: dict = _DEFAULT["compile"],  # noqa: A002 - one word per idea: the section's name
    deploy: dict = _DEFAULT["deploy"],
    store: dict = _DEFAULT["store"],
):
    """Ingest, tune, train, gate, compile, gate again what will ship, canary."""
    run = {"store": store, "run_id": run_id}

    with dsl.ExitHandler(place(components.report(**run)), name="always reported"):
        data = place(components.ingest(ingest=ingest, **run)).outputs["dataset"]
        tuned = place(components.tune(dataset=data, tune=tune, train=train, **run)).outputs["tuned"]
        model = place(components.train(dataset=data, tuned=tuned, train=train, **run)).outputs["model"]
        trained = place(components.gate(candidate=model, dataset=data, stage="trained", gate=gate, **run))

        with dsl.If(trained.outputs["Output"] == "pass", name="trained model passes"):
            compiled = place(components.compile(model=model, dataset=data, compile=compile, **run)).outputs["compiled"]
            shipping = place(components.gate(candidate=compiled, dataset=data, stage="compiled", gate=gate, **run))

            with dsl.If(shipping.outputs["Output"] == "pass", name="compiled model passes"):
                place(components.deploy(model=compiled, verdict=shipping.outputs["verdict"], dataset=data, deploy=deploy, **run))
            with dsl.Else(name="compiled model refused"):
                place(components.reject(verdict=shipping.outputs["verdict"], **run))

        with dsl.Else(name="trained model refused"):
            place(components.reject(verdict=trained.outputs["verdict"], **run))
