"""Asks registries and MLflow beside the queue, and gives their answers to the reconciliations."""
