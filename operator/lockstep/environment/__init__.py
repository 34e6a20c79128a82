"""Environment documents: what a process's packages, interpreter and system libraries are, and how two of them differ.

Pure: bytes and dataclasses in, documents and differences out. `lockstep.training` and `lockstep.images` feed it.
"""
