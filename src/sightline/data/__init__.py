"""Readers, checks, duplicates, splits, synthetic data and dataset versions."""
