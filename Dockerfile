# syntax=docker/dockerfile:1
# One image, two uses. As it stands it is a Beam worker (SDK container, or worker pool beside a task manager):
#   docker run IMAGE --worker_pool
# With another entrypoint it is the launcher, with the same code and the same versions as the workers:
#   docker run --entrypoint malmungchi IMAGE build --input s3://…/*.jsonl.zst --output s3://…/release --runner …

ARG BEAM_VERSION=2.77.0

FROM python:3.11-slim AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY transforms transforms
COPY pipelines pipelines
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM apache/beam_python3.11_sdk:${BEAM_VERSION} AS beam

FROM python:3.11-slim
LABEL org.opencontainers.image.title="malmungchi" \
      org.opencontainers.image.description="Korean text in, deduplicated Parquet shards out: launcher and Beam worker" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=beam /opt/apache/beam /opt/apache/beam

# Dependencies first: this layer only changes with the lock.
COPY requirements.lock /tmp/
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock && rm /tmp/requirements.lock

COPY --from=wheel /dist/*.whl /tmp/
RUN pip install --no-cache-dir --no-deps /tmp/*.whl && rm /tmp/*.whl && pip check

# Several worker processes share a machine: each keeps to its own core (Arrow heeds OMP_NUM_THREADS). The dependencies
# are in the image, so Beam's boot needs no environment of its own for each job.
ENV PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    NUMBA_NUM_THREADS=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    NUMBA_CACHE_DIR=/opt/malmungchi/numba

# Any user may run the image (clusters choose their own): the compiled kernels are there for all to read, and to add
# to where the machine's processor differs from the builder's.
RUN useradd --create-home --uid 1000 malmungchi \
    && mkdir -p "$NUMBA_CACHE_DIR" \
    && python -m pipelines.preload \
    && chmod -R a+rwX "$NUMBA_CACHE_DIR"

USER malmungchi
WORKDIR /home/malmungchi
ENTRYPOINT ["/opt/apache/beam/boot"]
