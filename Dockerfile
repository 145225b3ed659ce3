# One image for every part: the command says which.
#   docker run … serve --host 0.0.0.0 --no-worker     the API (the default)
#   docker run … worker                               a background worker
#   docker run … migrate | keys create … | demo …     any other command
# SENTINEL_DATABASE_URL and SENTINEL_SEALING_KEYS are expected; see docs/settings.md.
FROM python:3.13-slim AS packages
WORKDIR /build
COPY requirements.txt ./
RUN python -m venv /opt/sentinel \
    && /opt/sentinel/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r requirements.txt

FROM python:3.13-slim
# An account of its own, with a home only for the demo's embedded database.
RUN groupadd --system --gid 10001 sentinel \
    && useradd --system --uid 10001 --gid sentinel --home-dir /var/lib/sentinel --create-home sentinel
COPY --from=packages /opt/sentinel /opt/sentinel
WORKDIR /srv/sentinel
COPY LICENSE README.md alembic.ini ./
COPY migrations ./migrations
COPY app ./app
ENV PATH=/opt/sentinel/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/srv/sentinel \
    PYTHONUNBUFFERED=1 \
    SENTINEL_DATA_DIR=/var/lib/sentinel/data
USER sentinel
EXPOSE 8000
STOPSIGNAL SIGTERM
# For the API. What has no port (a worker, a command that ends) switches it off where it is started: see compose.yaml.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2).read()"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--no-worker"]
