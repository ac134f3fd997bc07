"""The submit step's contract."""
