# syntax=docker/dockerfile:1
#
#   docker build -t megamax-sync .
#   docker compose -f deploy/docker/compose.yaml up -d
#
# With Apprise, which MEGAMAX_NOTIFY needs and few others do:
#
#   docker build --build-arg REQUIREMENTS=requirements-notify.lock -t megamax-sync .
#
# Login and key come as secret files when the container runs. None is ever part of the image.
ARG PYTHON_IMAGE=python:3.13-slim

# The environment is made apart, so that neither pip, nor what builds the wheel, nor the sources
# reach the image.
FROM ${PYTHON_IMAGE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
ARG REQUIREMENTS=requirements.lock
COPY requirements-build.lock requirements.lock requirements-notify.lock ./
RUN python -m venv /build \
    && /build/bin/python -m pip install --require-hashes --requirement requirements-build.lock \
    && python -m venv --without-pip /app \
    && /build/bin/python -m pip --python /app/bin/python install \
        --require-hashes --requirement "${REQUIREMENTS}"
COPY pyproject.toml README.md LICENSE ./
COPY megamax_sync ./megamax_sync
RUN /build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /build/bin/python -m pip --python /app/bin/python install --no-deps --no-index /wheel/*.whl \
    && /app/bin/python -m compileall -q /app

FROM ${PYTHON_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="megamax-sync" \
      org.opencontainers.image.description="Uploads every finished video to Megamax, exactly once" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=environment /app /app
# It comes before the program on the PATH, so that `docker exec … megamax-sync status` goes the
# same way. A fresh volume takes owner and mode of the folders that it is mounted on.
COPY --chmod=0755 deploy/docker/entrypoint.py /usr/local/bin/megamax-sync
RUN mkdir -m 0700 /state && mkdir /watch /sidecars && chown 1000:1000 /state /watch /sidecars
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MEGAMAX_STATE_DIR=/state \
    MEGAMAX_WATCH=/watch
VOLUME ["/state"]
WORKDIR /state
STOPSIGNAL SIGTERM
# "No progress" takes a minute to be seen; three looks in a row are then unhealthy.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/megamax-sync", "health"]
# Started as root, it goes on as PUID:PGID (1000:1000); started as any other user, as that one.
ENTRYPOINT ["/usr/local/bin/megamax-sync"]
