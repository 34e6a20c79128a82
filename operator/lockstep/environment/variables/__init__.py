"""Which environment variables a manifest may set: the known ones, and their harmless values."""
