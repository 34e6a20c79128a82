"""The promotion gates: one file each, pure functions from evidence to a result, and the chain that orders them."""
