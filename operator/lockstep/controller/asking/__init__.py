"""Asks the pods of a candidate, and finds out why some are not ready."""
