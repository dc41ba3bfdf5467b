# syntax=docker/dockerfile:1
#
#   docker build -t megamax-sync .
#   docker run -v /srv/videos:/watch -v megamax-state:/state \
#       -v ./megamax_login:/run/secrets/megamax_login:ro \
#       -v ./megamax_key:/run/secrets/megamax_key:ro megamax-sync
#
# Login and key come as secret files when the container runs. None is ever part of the image.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

# The wheel is built apart, so that neither the build tools nor the sources reach the image.
FROM ${PYTHON_IMAGE} AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements-dev.lock ./
RUN pip install --require-hashes --requirement requirements-dev.lock
COPY pyproject.toml README.md LICENSE ./
COPY megamax_sync ./megamax_sync
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheel .

FROM ${PYTHON_IMAGE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /app
COPY requirements.lock ./
RUN /app/bin/pip install --require-hashes --requirement requirements.lock
COPY --from=wheel /wheel /wheel
RUN /app/bin/pip install --no-deps --no-index /wheel/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="megamax-sync" \
      org.opencontainers.image.description="Uploads every finished video to Megamax, exactly once" \
      org.opencontainers.image.licenses="MIT"
# /state has to belong to the user before it is declared, else a fresh volume belongs to root.
RUN groupadd --gid 1000 megamax \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /state --shell /usr/sbin/nologin megamax \
    && install -d -o megamax -g megamax -m 0700 /state \
    && install -d -o megamax -g megamax /watch
COPY --from=environment /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MEGAMAX_STATE_DIR=/state \
    MEGAMAX_WATCH=/watch
VOLUME ["/state"]
USER megamax
WORKDIR /state
STOPSIGNAL SIGTERM
ENTRYPOINT ["megamax-sync"]
