"""The pipelines: one DAG per file, each reads like the README's diagram."""
