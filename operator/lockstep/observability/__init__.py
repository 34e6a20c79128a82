"""What people and Prometheus see of the controller: metrics, events, logs."""
