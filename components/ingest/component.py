"""From a folder of images to a leak-free, versioned dataset."""

from kfp import dsl
from kfp.dsl import Dataset, Metrics, Output

from components.images import BASE


@dsl.component(base_image=BASE, install_kfp_package=False)
def ingest(ingest: dict, source: str, pin: str, store: dict, run_id: str, dataset: Output[Dataset], metrics: Output[Metrics]) -> str:
    """Reads, checks, deduplicates and splits images into a dataset version.

    Args:
        ingest: The ingest section of the configuration, without source and pin.
        source: Where the images are: s3://bucket/prefix, a folder, or generated://surfaces.
        pin: Digest that the images must have; empty: whatever is there.
        store: Where the run keeps its things.
        run_id: The run that this belongs to.

    Returns:
        dataset: Samples, splits, digests, quarantine and packed pixels.
        metrics: Images per split and refused files.
        Output: Always "done".
    """
    from sightline.config.ingest import IngestConfig
    from sightline.config.store import StoreConfig
    from sightline.ingest import step

    config = IngestConfig(source=source, pin=pin, **ingest)
    done = step.run(config=config, store=StoreConfig(**store), run_id=run_id, output=dataset.path)
    return done.publish(metrics=metrics.metadata)
