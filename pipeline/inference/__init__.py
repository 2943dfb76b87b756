"""Taking a trained network elsewhere: as ONNX, and as what MLflow serves."""
