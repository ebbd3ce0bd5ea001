"""Export: PyTorch to ONNX, and the proof that they agree."""
