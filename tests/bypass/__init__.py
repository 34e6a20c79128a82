"""Attempts to get traffic to what was not checked, or to disturb what serves, on the real node: `python -m tests.bypass`."""
