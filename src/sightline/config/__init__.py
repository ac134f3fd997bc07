"""The run configuration: frozen sections, one module each, every field with its unit."""
