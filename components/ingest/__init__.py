"""The ingest step's contract."""
