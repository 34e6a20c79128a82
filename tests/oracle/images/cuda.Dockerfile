# A CUDA wheel, and layers that upgrade and remove what lower ones brought.
ARG BASE
FROM ${BASE}
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv --system-site-packages /opt/venv \
 && /opt/venv/bin/pip install --quiet nvidia-cuda-runtime-cu12==12.9.79 requests==2.31.0 wheel==0.45.1 setuptools==80.9.0
RUN /opt/venv/bin/pip install --quiet --upgrade requests==2.32.5
RUN /opt/venv/bin/pip uninstall --quiet --yes wheel idna
# The directory as new in one layer, so that the layer marks it opaque.
RUN cp -a /opt/venv/lib/python3.11/site-packages/certifi /tmp/certifi \
 && rm -r /opt/venv/lib/python3.11/site-packages/certifi && mv /tmp/certifi /opt/venv/lib/python3.11/site-packages/certifi
ENV PATH=/opt/venv/bin:/usr/bin:/bin
ENTRYPOINT ["python"]
