"""The tune step's contract."""
