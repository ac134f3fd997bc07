"""The reject step's contract."""
