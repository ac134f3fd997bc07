"""Sightline retrains vision models on a schedule and never ships a worse one."""

__version__ = "0.1.0"
