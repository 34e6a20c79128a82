"""What the model registry says of a model version: where it came from and what it declares. `mlflow` speaks MLflow."""
