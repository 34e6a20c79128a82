"""Reads a layer from its compressed stream to a record of what counts, and puts layers on top of one another."""
