# Debian with a Python of its own below /usr/local, as the images of Docker's library are.
ARG BASE
FROM ${BASE}
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PIP_ROOT_USER_ACTION=ignore PIP_CERT=/etc/ssl/certs/ca-certificates.crt
COPY prefix /usr/local
RUN ldconfig && /usr/local/bin/python3 -m ensurepip > /dev/null && /usr/local/bin/python3 -m pip install --quiet requests==2.32.5 attrs==25.3.0 \
 && /usr/local/bin/python3 -m pip uninstall --quiet --yes setuptools
ENV PATH=/usr/local/bin:/usr/bin:/bin
CMD ["python3"]
