# MLflow's tracking server, and the training job: both run what requirements/demo.txt locks.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
RUN python3 -m venv /opt/venv
COPY requirements/demo.txt /src/requirements/
RUN pip install --require-hashes -r /src/requirements/demo.txt
COPY pyproject.toml README.md /src/
COPY operator /src/operator
RUN pip install --no-deps /src
COPY examples/demo/images/train.py /app/train.py
USER 10001:10001
WORKDIR /tmp
CMD ["python", "/app/train.py"]
