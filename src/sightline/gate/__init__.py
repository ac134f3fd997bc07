"""The promotion decision: paired, per slice, statistical."""
