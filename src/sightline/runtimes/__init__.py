"""Runs a bundle's variant: eager PyTorch, ONNX Runtime, OpenVINO, TensorRT."""
