"""How servers are talked to: MLflow's scoring protocol, Open Inference v2, and protocols of a server's own."""
