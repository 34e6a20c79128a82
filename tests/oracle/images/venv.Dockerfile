# A virtual environment on Debian's Python, with what a scikit-learn model needs.
ARG BASE
FROM ${BASE}
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --quiet scikit-learn==1.7.2 mlflow-skinny==3.17.2 attrs==25.3.0
ENV PATH=/opt/venv/bin:/usr/bin:/bin
CMD ["/opt/venv/bin/python", "-m", "http.server"]
