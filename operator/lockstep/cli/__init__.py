"""The command line: `lockstep …`, also installed as `kubectl-lockstep`."""
