"""From trained weights to what ships."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Markdown, Metrics, Model, Output

from components.images import COMPILE


@dsl.component(base_image=COMPILE, install_kfp_package=False)
def compile(
    model: Input[Model],
    dataset: Input[Dataset],
    compile: dict,
    store: dict,
    run_id: str,
    compiled: Output[Model],
    page: Output[HTML],
    summary: Output[Markdown],
    metrics: Output[Metrics],
) -> str:
    """Exports to ONNX, builds and measures every variant, chooses the fastest that holds the constraints.

    Args:
        model: A trained bundle.
        dataset: The dataset version it was trained on.
        compile: The compile section of the configuration.
        store: Where the run keeps its things.
        run_id: The run that this belongs to.

    Returns:
        compiled: The bundle with its variants, the chosen one named.
        page: Variants with speed, size and parity.
        summary: The same as a short table.
        metrics: Latency, throughput and speed-up of the chosen variant.
        Output: Always "done".
    """
    from sightline.compile import step
    from sightline.config.compile import CompileConfig
    from sightline.config.store import StoreConfig

    done = step.run(
        model=model.path,
        dataset=dataset.path,
        config=CompileConfig(**compile),
        store=StoreConfig(**store),
        run_id=run_id,
        output=compiled.path,
    )
    return done.publish(metrics=metrics.metadata, html=page.path, markdown=summary.path)
