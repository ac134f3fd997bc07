"""The promotion gate."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Model, Output

from components.images import COMPILE


@dsl.component(base_image=COMPILE, install_kfp_package=False)
def gate(
    candidate: Input[Model],
    dataset: Input[Dataset],
    stage: str,
    gate: dict,
    store: dict,
    run_id: str,
    verdict: Output[Artifact],
    page: Output[HTML],
    summary: Output[Markdown],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
) -> str:
    """Compares the candidate with the champion on the same golden images, overall and per slice.

    Args:
        candidate: The bundle that wants to ship.
        dataset: The dataset version with the golden set.
        stage: "trained" or "compiled": which model is judged.
        gate: The gate section of the configuration, which is the promotion policy.
        store: Where the run keeps its things, the champion among them.
        run_id: The run that this belongs to.

    Returns:
        verdict: Every check with its test, margin, n, interval and p-value.
        page: The verdict with slices and flipped images.
        summary: The verdict as a short table.
        metrics: Golden accuracy of both models and the worst slice.
        confusion: Golden images by true class (rows) and answer of the candidate (columns).
        Output: "pass", "fail" or "inconclusive".
    """
    from sightline.config.gate import GateConfig
    from sightline.config.store import StoreConfig
    from sightline.gate import matrix, step

    done = step.run(
        candidate=candidate.path,
        dataset=dataset.path,
        stage=stage,
        config=GateConfig(**gate),
        store=StoreConfig(**store),
        run_id=run_id,
        output=verdict.path,
    )
    confusion.metadata.update(matrix.confusion_matrix(verdict.path))
    return done.publish(metrics=metrics.metadata, html=page.path, markdown=summary.path)
