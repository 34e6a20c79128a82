# Laid out as conda does: a base environment, and another that serves.
ARG BASE
FROM ${BASE}
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PIP_ROOT_USER_ACTION=ignore PIP_CERT=/etc/ssl/certs/ca-certificates.crt
COPY prefix /opt/conda
COPY prefix /opt/conda/envs/serve
ENV LD_LIBRARY_PATH=/opt/conda/lib
RUN for env in /opt/conda /opt/conda/envs/serve; do $env/bin/python3 -m ensurepip > /dev/null && mkdir -p $env/conda-meta \
 && printf '{"name": "python", "version": "3.11.0", "build": "h0_0", "channel": "conda-forge", "depends": [], "files": ["bin/python3.11"]}' > $env/conda-meta/python-3.11.0-h0_0.json; done \
 && /opt/conda/bin/python3 -m pip install --quiet requests==2.31.0 && /opt/conda/bin/python3 -m pip uninstall --quiet --yes setuptools \
 && /opt/conda/envs/serve/bin/python3 -m pip install --quiet requests==2.32.5 attrs==25.3.0
ENV PATH=/opt/conda/envs/serve/bin:/opt/conda/bin:/usr/bin:/bin
CMD ["python3", "-m", "http.server"]
