"""Who may do what in the bucket, written down a second time and independently of the modules: this table is what the tests hold them to."""

from dataclasses import dataclass, field

PREFIXES = (
    *("data/", "runs/", "jobs/", "served/", "mlflow/", "kfp/"),
    *(
        f"cache/{step}/"
        for step in (
            "ingest",
            "ingest-memory",
            "ingest-etags",
            "tune",
            "train",
            "gate-trained",
            "gate-compiled",
            "compile",
            "deploy",
            "monitor",
        )
    ),
    *(f"registry/{kind}/" for kind in ("ledger", "models", "golden", "looks", "audits", "overrides", "approvals", "retrains")),
)
WRITE_ONCE = tuple(f"registry/{kind}/" for kind in ("ledger", "golden", "looks", "audits", "overrides", "approvals", "retrains"))
CACHE = frozenset(prefix for prefix in PREFIXES if prefix.startswith("cache/"))
CHAMPION = frozenset({"registry/ledger/", "registry/models/"})


@dataclass(frozen=True)
class Rights:
    """Prefixes an account reads besides those that it writes, writes, and deletes from."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    deletes: frozenset[str] = frozenset()
    everything: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "everything", self.reads | self.writes | self.deletes)


def _step(*writes: str, reads: frozenset[str] = frozenset(), deletes: frozenset[str] = frozenset()) -> Rights:
    return Rights(CACHE | reads, frozenset({"runs/", *writes}), deletes)


RIGHTS = {
    "sightline/sightline-ingest": _step(
        "cache/ingest/", "cache/ingest-memory/", "cache/ingest-etags/", "registry/golden/", reads=frozenset({"data/"})
    ),
    "sightline/sightline-tune": _step("cache/tune/", deletes=frozenset({"jobs/"})),
    "sightline/sightline-train": _step("cache/train/", reads=CHAMPION, deletes=frozenset({"jobs/"})),
    "sightline/sightline-gate": _step(
        *("cache/gate-trained/", "cache/gate-compiled/", "registry/looks/"),
        reads=CHAMPION | {"registry/audits/", "registry/overrides/"},
    ),
    "sightline/sightline-compile": _step("cache/compile/"),
    "sightline/sightline-deploy": _step(
        *("cache/deploy/", "registry/ledger/", "registry/models/"), reads=frozenset({"registry/overrides/", "registry/approvals/"})
    ),
    "sightline/sightline-monitor": _step("cache/monitor/", "registry/retrains/", reads=CHAMPION | {"served/"}),
    "sightline/sightline-report": _step(reads=frozenset({"registry/ledger/"})),
    "sightline/sightline-run": Rights(
        CACHE | {"data/", "served/", "registry/audits/", "registry/overrides/", "registry/approvals/"},
        CACHE | {"runs/", "kfp/", "registry/golden/", "registry/looks/", "registry/ledger/", "registry/models/", "registry/retrains/"},
        frozenset({"jobs/"}),
    ),
    "sightline-serving/sightline-serve": Rights(frozenset({"registry/models/"}), frozenset({"served/"})),
    "sightline/ml-pipeline": Rights(frozenset({"kfp/"})),
    "sightline/ml-pipeline-ui": Rights(frozenset({"kfp/"})),
    "sightline-tracking/sightline-mlflow": Rights(deletes=frozenset({"mlflow/"})),
}
