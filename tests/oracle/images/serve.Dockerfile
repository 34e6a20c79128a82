# As `mlflow models build-docker` makes it: the model inside, started by MLflow's console script.
ARG BASE
FROM ${BASE}
RUN mkdir -p /opt/ml/model && printf 'model_id: m-1\nrun_id: 0123456789abcdef0123456789abcdef\nflavors:\n  sklearn: {}\n' > /opt/ml/model/MLmodel
ENTRYPOINT ["mlflow", "models", "serve", "-m", "/opt/ml/model", "--env-manager", "local"]
CMD []
