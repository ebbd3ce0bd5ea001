"""NVIDIA's TensorRT, and TensorRT for RTX, by one path; nothing here imports either before use."""
