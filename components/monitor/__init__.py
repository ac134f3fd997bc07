"""The monitor step's contract."""
