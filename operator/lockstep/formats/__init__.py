"""The forms of what is stored or signed: canonical JSON, keys, signed envelopes, MLflow's models and their files. Pure."""
