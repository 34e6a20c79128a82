# Two environments, of which a script chooses one when it starts: its files do not say which.
ARG BASE
FROM ${BASE}
USER 0
RUN python3 -m venv --without-pip /opt/other \
 && mkdir /opt/other/lib/python3.11/site-packages/acme_features-2.0.0.dist-info \
 && printf 'Metadata-Version: 2.1\nName: acme-features\nVersion: 2.0.0\n' \
    > /opt/other/lib/python3.11/site-packages/acme_features-2.0.0.dist-info/METADATA
ARG CHOICE=/usr/bin/python3
ARG SCRIPT
RUN echo ${CHOICE} > /etc/choice \
 && printf '#!/bin/sh\n%s\n' "${SCRIPT}" > /entrypoint.sh \
 && chmod 0755 /entrypoint.sh
USER 10001:10001
CMD ["/entrypoint.sh"]
