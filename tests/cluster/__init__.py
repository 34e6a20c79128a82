"""A real Kubernetes node for tests and the demo, without Docker: `python3 -m tests.cluster up`.

Standard library only: it runs before any virtual environment exists.
"""
