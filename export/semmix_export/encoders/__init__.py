"""Text and vision encoders from transformers to ONNX, and the proof that both agree."""
