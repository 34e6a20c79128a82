"""The custom resources as users write and read them: models, conditions, reasons, CRD generation. Pure."""
