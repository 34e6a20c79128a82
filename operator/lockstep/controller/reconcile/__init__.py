"""One reconciliation of one ModelDeployment: what is there, what is decided, what is done and what is said about it."""
