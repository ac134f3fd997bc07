"""Distributed training with PyTorch Lightning."""
