# The controller's image. BASE may be any Debian-like image with Python 3.11 or newer, venv and a CA bundle:
#   docker build -t lockstep:dev .
#   buildah bud --isolation chroot --network host --build-arg BASE=localhost/debian:bookworm -t lockstep:dev .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/lockstep
COPY requirements/controller.txt /src/requirements/
RUN /opt/lockstep/bin/pip install --require-hashes -r /src/requirements/controller.txt
COPY pyproject.toml README.md /src/
COPY operator /src/operator
# The build backend is resolved by pip; what runs is the locked set above and nothing else.
RUN /opt/lockstep/bin/pip install --no-deps /src \
 && /opt/lockstep/bin/pip uninstall --yes pip setuptools

# The observer runs in pods whose servers nobody vouches for, as their user: of a program that others may execute and not read,
# the kernel lets no process of the same user see or change the memory (execve(2), PR_SET_DUMPABLE).
RUN cp "$(readlink -f /opt/lockstep/bin/python3)" /opt/lockstep/bin/observer-python \
 && chmod 0711 /opt/lockstep/bin/observer-python

FROM ${BASE}
ENV PATH=/opt/lockstep/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONFAULTHANDLER=1
COPY --from=builder /opt/lockstep /opt/lockstep
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080 8081
ENTRYPOINT ["lockstep"]
CMD ["--help"]
