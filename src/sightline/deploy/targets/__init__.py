"""Where a model is served."""
