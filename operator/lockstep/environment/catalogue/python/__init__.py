"""The Python that runs beside the packages: its library, byte code, start-up hooks and the image's own code."""
