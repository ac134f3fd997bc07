"""The inference server (Open Inference Protocol v2)."""
