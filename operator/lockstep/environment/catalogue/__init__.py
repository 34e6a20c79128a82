"""Reads what is installed from a `FileTree`: the same code for a live root file system and for an image's layers."""
