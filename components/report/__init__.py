"""The report step's contract."""
