#!/usr/bin/env bash
# One node's part of a training job on several nodes. Start it on each of them with the same arguments, those of
# trainer/main.py; the nodes find each other at RENDEZVOUS. infra/slurm and infra/kubernetes call it.
#
#   NUM_NODES       nodes of the job
#   RENDEZVOUS      host:port of one of the nodes, as all of them can reach it
#   JOB_ID          the same word on each node, another one for each job
#   RANKS_PER_NODE  ranks on this node; default: one per GPU
#   MAX_RESTARTS    how often torchrun starts all ranks again after one was lost; default 3
#   LOCAL_ADDRESS   address of this node, where the others cannot reach it by its name
#   PYTHON          default: the environment's, .venv/bin/python
#
# The run folder and the catalog must be on a file system that all nodes share. SIGTERM makes each rank finish its step;
# the first writes a checkpoint, and the same job started again goes on from there.
set -euo pipefail
: "${NUM_NODES:?set NUM_NODES to the number of nodes}"
: "${RENDEZVOUS:?set RENDEZVOUS to host:port of one of the nodes}"
: "${JOB_ID:?set JOB_ID to a word that names this job}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

exec "${PYTHON:-$here/.venv/bin/python}" -m torch.distributed.run \
    --nnodes="$NUM_NODES" --nproc_per_node="${RANKS_PER_NODE:-gpu}" --max-restarts="${MAX_RESTARTS:-3}" \
    --rdzv-backend=c10d --rdzv-endpoint="$RENDEZVOUS" --rdzv-id="$JOB_ID" \
    ${LOCAL_ADDRESS:+--local-addr="$LOCAL_ADDRESS"} \
    "$here/trainer/main.py" "$@"
