"""The search for training parameters with Ray Tune."""
