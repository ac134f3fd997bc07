"""The evidence pack: one self-contained page and its JSON."""
