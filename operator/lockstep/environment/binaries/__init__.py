"""What binaries say of themselves: ELF files, programs and shared objects. Pure."""
