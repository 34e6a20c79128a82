# As distroless images are: no shell, no tools, and dpkg's database as one file a package.
ARG BASE
FROM ${BASE} AS full
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/app && /opt/app/bin/pip install --quiet requests==2.32.5 && /opt/app/bin/pip uninstall --quiet --yes setuptools
COPY status.py /status.py
RUN python3 /status.py /var/lib/dpkg/status /out/var/lib/dpkg/status.d libc6 libgcc-s1 libssl3 libpython3.11-minimal python3.11-minimal \
 && mkdir -p /out/usr/bin /out/usr/lib /out/lib64 /out/etc /out/opt \
 && cp -a /usr/bin/python3.11 /usr/bin/python3 /out/usr/bin/ \
 && cp -a /usr/lib/python3.11 /usr/lib/python3 /usr/lib/os-release /out/usr/lib/ \
 && cp -aL /usr/lib/x86_64-linux-gnu /out/usr/lib/ && cp -aL /lib64/. /out/lib64/ \
 && ln -s usr/lib /out/lib && ln -s ../usr/lib/os-release /out/etc/os-release \
 && cp -a /etc/passwd /out/etc/ && cp -a /opt/app /out/opt/

FROM scratch
COPY --from=full /out /
ENTRYPOINT ["/opt/app/bin/python"]
