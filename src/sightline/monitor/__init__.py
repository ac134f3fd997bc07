"""Drift of served images and what is done about it."""
