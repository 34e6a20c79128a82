"""What the controller reads from the Kubernetes API and writes to it, behind its ports."""
