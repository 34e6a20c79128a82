"""Which process serves, and what its server puts on the path."""
