# An ordinary serving image: the locked environment, the model, MLflow's scoring server.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/venv/bin:$PATH HOME=/app PYTHONUNBUFFERED=1
RUN python3 -m venv /opt/venv
COPY environment.lock server.lock /src/
RUN pip install -r /src/environment.lock -r /src/server.lock
COPY model /opt/model
# Where uvicorn imports from, and where $HOME/.local would be: nothing that the server can write to.
WORKDIR /app
USER 10001:10001
CMD ["mlflow", "models", "serve", "--model-uri", "/opt/model", "--env-manager", "local", "--host", "0.0.0.0", "--port", "8080", "--workers", "1"]
