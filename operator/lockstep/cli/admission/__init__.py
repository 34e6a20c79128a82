"""What `kubectl apply` would say to a manifest, decided without a cluster: from the schemas that the CRDs are made of."""
