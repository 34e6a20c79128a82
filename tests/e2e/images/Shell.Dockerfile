# The small serving image, with variables that make every bash that it starts run a command.
ARG BASE
FROM ${BASE}
ENV SHELLOPTS=xtrace PS4=+
