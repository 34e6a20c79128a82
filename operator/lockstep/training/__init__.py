"""What a training job imports: `log_environment()`. Light: no Kubernetes, no controller."""
