# syntax=docker/dockerfile:1
# One image for every process of the house; the command says which.
#
#   docker build --tag gristmill .
#   docker build --tag gristmill:cuda --build-arg TORCH_INDEX= .     # PyTorch with CUDA, for the profile "gpu"

ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Extras of the distribution; without "domain" there is no PyTorch, and the image is some gigabytes smaller.
ARG EXTRAS=service,ray,domain
# Where PyTorch comes from; empty for the default index, whose builds hold CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# kenlm is compiled, everything else has wheels.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ cmake make \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/gristmill
ENV PATH=/opt/gristmill/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt ./
RUN case ",${EXTRAS}," in *,domain,*) \
      pip install --no-deps ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} --constraint constraints.txt torch ;; \
    esac
COPY . .
# Ray with its dashboard: controllers launch nothing on a cluster whose job API they have not seen refusing strangers.
RUN case ",${EXTRAS}," in *,ray,*) dashboard='ray[default]' ;; esac \
    && pip wheel --no-deps --wheel-dir /wheels . \
    && pip install --constraint constraints.txt \
      "$(echo /wheels/gristmill-*.whl)[${EXTRAS}]" ${dashboard:+"$dashboard"} \
    && pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 gristmill \
    && useradd --uid 10001 --gid gristmill --no-create-home --home-dir /tmp --shell /usr/sbin/nologin gristmill \
    && install --directory --owner gristmill --group gristmill \
      /data/home /data/models /data/runs /data/sources /data/scratch
COPY --from=build /opt/gristmill /opt/gristmill
COPY --chmod=0755 deploy/controller.sh /usr/local/bin/gristmill-controller
# The root file system may be read-only: what is compiled or kept on the way goes to /tmp and /data/scratch.
ENV PATH=/opt/gristmill/bin:$PATH \
    HOME=/tmp \
    HF_HUB_OFFLINE=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    TMPDIR=/data/scratch \
    TOKENIZERS_PARALLELISM=false
USER 10001:10001
WORKDIR /data
CMD ["gristmill", "--help"]
