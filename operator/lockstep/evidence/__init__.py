"""Gathers the facts of a decision from MLflow and the image registry; the controller and `lockstep check` share it."""
