"""Canary, judge, promotion and rollback."""
