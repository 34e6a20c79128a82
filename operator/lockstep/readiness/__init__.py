"""The readiness audit: asks candidate pods what a client will ask them, over their own addresses, before they get traffic."""
