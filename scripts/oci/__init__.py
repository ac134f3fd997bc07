"""The images that steps run in: what they are made of, how they are built, checked and pinned. Uses the standard library only."""
