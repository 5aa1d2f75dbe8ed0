#!/usr/bin/env bash
# A controller in a container.  A driver reaches a Ray cluster through a Ray node beside it, so with the Ray backend
# this container is a node of the cluster, without processors.  Node and controller end together, and start again
# together.  A controller that is told to stop asks its drivers to give their runs back (GRISTMILL_END_DRIVERS), to be
# gone on with elsewhere; only then the node goes.
set -euo pipefail

asked=0 controller=''
stop() {
  asked=1
  [ -z "$controller" ] || kill -TERM "$controller" 2>/dev/null || true
}
trap stop TERM INT

if [ "${GRISTMILL_BACKEND:-inline}" = ray ]; then
  ray start --address="${GRISTMILL_RAY_ADDRESS:?}" --num-cpus=0 --num-gpus="${RAY_NODE_GPUS:-0}" \
    --object-store-memory=134217728 --block &
  node=$!
  # Written when the node has joined.  A driver that starts earlier would fail an attempt of its run.
  until [ -s "${RAY_TMPDIR:-/tmp}/ray/ray_current_cluster" ] || [ "$asked" = 1 ]; do
    kill -0 "$node" 2>/dev/null || exit 1
    sleep 0.2
  done
fi

code=0
if [ "$asked" = 0 ]; then
  gristmill controller &
  controller=$!
  wait -n || code=$?
  [ "$asked" = 0 ] || wait "$controller" || true
fi

# shellcheck disable=SC2046
kill -TERM $(jobs -p) 2>/dev/null || true
wait || true
[ "$asked" = 1 ] && exit 0
exit "$((code == 0 ? 1 : code))" # nobody asked for it: a failure, whichever of the two it was
