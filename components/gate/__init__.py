"""The gate step's contract."""
