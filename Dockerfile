# The program alone: `docker run … serve`, `worker`, `migrate`, `doctor`. docs/operations/deploy.md shows it at work.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/outlast
COPY requirements/image.lock requirements/
RUN /opt/outlast/bin/pip install --no-cache-dir --require-hashes -r requirements/image.lock
COPY pyproject.toml README.md LICENSE ./
COPY outlast outlast
RUN /opt/outlast/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/outlast/bin/pip check

FROM python:3.13-slim
# tini takes the signals that come before Python does, and buries whatever outlives a worker that was killed.
# Debian keeps one version of it for each release, so none is named here.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/outlast --shell /usr/sbin/nologin outlast \
    && install --directory --owner=outlast --group=outlast --mode=700 /var/lib/outlast \
    && install --directory /agents
COPY --from=build /opt/outlast /opt/outlast
ENV PATH=/opt/outlast/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OUTLAST_DATA_DIR=/var/lib/outlast \
    OUTLAST_AGENT_ROOT=/agents \
    OUTLAST_HOST=0.0.0.0 \
    OUTLAST_LOG_FORMAT=json
WORKDIR /agents
USER 10001
VOLUME /var/lib/outlast
EXPOSE 8005
STOPSIGNAL SIGTERM
# Of a server; compose.yaml switches it off for workers, whose sign of life is their lease (`outlast workers`).
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('OUTLAST_PORT', '8005')}/ready\", timeout=4)"]
ENTRYPOINT ["tini", "--", "outlast"]
CMD ["serve"]
