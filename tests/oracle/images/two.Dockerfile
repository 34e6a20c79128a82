# Two interpreters, each with packages of its own, and a directory that only PYTHONPATH shows.
ARG BASE
FROM ${BASE}
RUN /usr/local/bin/python3 -m pip --python /usr/bin/python3 install --quiet --break-system-packages attrs==24.2.0 six==1.16.0 \
 && /usr/local/bin/python3 -m pip install --quiet --target /app/more packaging==24.2
ENTRYPOINT ["/usr/bin/python3"]
