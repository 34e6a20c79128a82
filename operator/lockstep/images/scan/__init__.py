"""Scans an image: gets the records of its layers and has them described, in processes that have nothing to lose."""
