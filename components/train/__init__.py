"""The train step's contract."""
