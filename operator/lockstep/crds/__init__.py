"""The custom resources as the API server takes them, generated from the types in `lockstep.api` and the table of gates."""
