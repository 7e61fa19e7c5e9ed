# syntax=docker/dockerfile:1
# One image, two uses. As it stands it is a Beam worker (SDK container, or worker pool beside a task manager):
#   docker run IMAGE --worker_pool
# With another entrypoint it is the launcher, or a Dask worker, with the same code and the same versions:
#   docker run --entrypoint malmungchi IMAGE build --input s3://…/*.jsonl.zst --output s3://…/release --runner …
#   docker run --entrypoint dask IMAGE worker tcp://scheduler:8786 --nthreads 1

# Build it with --build-arg VERSION=, pyproject.toml's, and tag it so.
ARG BEAM_VERSION=2.77.0

FROM apache/beam_python3.11_sdk:${BEAM_VERSION} AS beam

# ---- what is installed, made where it may leave things behind

FROM python:3.11-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Dependencies first: this layer only changes with the lock.
COPY requirements.lock ./
RUN pip install --prefix /packages --require-hashes -r requirements.lock

# What builds the wheel is locked as well; it stays behind here.
COPY requirements-dev.lock ./
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements-dev.lock > build.lock \
    && pip install --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY malmungchi malmungchi
COPY schemas schemas
COPY transforms transforms
COPY pipelines pipelines
# The tests that other packages bring are a tenth of it all.
RUN pip install --prefix /packages --no-deps --no-build-isolation --no-index . \
    && find /packages \( -type d -name tests -o -name '*_test.*' \) -prune -exec rm -rf {} +

# ---- the image

FROM python:3.11-slim-bookworm
ARG VERSION=unknown
LABEL org.opencontainers.image.title="malmungchi" \
      org.opencontainers.image.description="Korean text in, deduplicated Parquet shards out: launcher and Beam worker" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11-slim-bookworm"

COPY --from=beam /opt/apache/beam/boot /opt/apache/beam/boot
COPY --from=beam /opt/apache/beam/LICENSE /opt/apache/beam/NOTICE /opt/apache/beam/
COPY --from=packages /packages /usr/local

# Several worker processes share a machine: each keeps to its own core (Arrow heeds OMP_NUM_THREADS), and keeps the
# memory that each chunk needs again, as our own worker processes do. The dependencies are in the image, so Beam's boot
# needs no environment of its own for each job.
ENV PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    NUMBA_NUM_THREADS=1 \
    ARROW_DEFAULT_MEMORY_POOL=system \
    MALLOC_MMAP_THRESHOLD_=1073741824 \
    MALLOC_TRIM_THRESHOLD_=2147483647 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    NUMBA_CACHE_DIR=/opt/malmungchi/numba

# Any user may run the image (clusters choose their own): the compiled kernels are there for all to read, and to add
# to where the machine's processor differs from the builder's.
RUN pip check \
    && useradd --create-home --uid 1000 malmungchi \
    && mkdir -p "$NUMBA_CACHE_DIR" \
    && python -m malmungchi.pipelines.process.preload \
    && chmod -R a+rwX "$NUMBA_CACHE_DIR"

USER 1000
WORKDIR /home/malmungchi

# A worker pool must answer; all else (a launcher, a worker that boot was told to start) is healthy while it runs.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["sh", "-c", \
    "! grep -qz -- --worker_pool /proc/1/cmdline || python -c 'import socket; socket.create_connection((\"localhost\", 50000), 2).close()'"]

ENTRYPOINT ["/opt/apache/beam/boot"]
