"""Predictions on a split, metrics and slices."""
