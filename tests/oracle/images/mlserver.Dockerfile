# MLServer in a virtual environment, started as its own images start it.
ARG BASE
FROM ${BASE}
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/mlserver && /opt/mlserver/bin/pip install --quiet mlserver==1.7.1
ENV PATH=/opt/mlserver/bin:/usr/bin:/bin
CMD ["mlserver", "start", "/mnt/models"]
