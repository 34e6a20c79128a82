"""How two documents differ, and what of their differences counts."""
