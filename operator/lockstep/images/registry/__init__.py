"""The client of OCI registries: connections, logins, pace, manifests, blobs and referrers, pulled and pushed."""
