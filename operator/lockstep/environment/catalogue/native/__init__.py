"""Binaries: ELF files, the shared libraries that they need, the C library and CUDA."""
