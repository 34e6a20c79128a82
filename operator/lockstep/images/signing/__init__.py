"""Signatures and attestations beside an image: found, attached and verified."""
