# The HTTP service, for CPU and for GPU: PyPI's torch runs on both. For an image without CUDA's libraries give the build an
# index of CPU wheels (PIP_EXTRA_INDEX_URL); for a mirror or another Python give it BASE_IMAGE.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/venv
# Dependencies first: this layer is built again only when what the project asks for changes.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], *p['optional-dependencies']['server'], sep='\n')" > requirements.txt \
 && /opt/venv/bin/pip install -c constraints.txt -r requirements.txt
COPY . .
RUN /opt/venv/bin/pip install -c constraints.txt ".[server]"

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="flow-vocoder" \
      org.opencontainers.image.description="A neural vocoder made of normalising flows, as an HTTP service" \
      org.opencontainers.image.version="0.3.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# The root filesystem may be read-only: nothing is compiled, cached or logged to disk; what must be temporary goes to /tmp.
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
COPY --from=build /opt/venv /opt/venv
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["vocoder", "serve", "--host", "0.0.0.0", "--port", "8000"]
