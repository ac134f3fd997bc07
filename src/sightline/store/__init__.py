"""Verified reads and atomic commits: artifact folders, step keys, object stores."""
