"""From a verdict and the state of the cluster to the actions that follow, and the objects that Lockstep owns. Pure."""
