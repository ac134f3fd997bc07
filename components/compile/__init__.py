"""The compile step's contract."""
