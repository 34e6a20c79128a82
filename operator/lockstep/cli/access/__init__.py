"""How the command line reaches MLflow and registries, with the credentials of the person who runs it."""
