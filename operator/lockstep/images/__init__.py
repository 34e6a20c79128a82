"""Reads container images: references, registries and layouts, layers, squashing, the scan. Executes nothing."""
