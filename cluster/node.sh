#!/usr/bin/env bash
# One node's share of cluster/train.sbatch: a torchrun that meets the others at the first node, and a process a GPU.
set -euo pipefail

if [[ $SLURM_NODEID -eq 0 ]]; then first=true; else first=false; fi
exec torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$MEETING_HOST:$MEETING_PORT" \
    --rdzv-conf "is_host=$first" --local-addr "$SLURMD_NODENAME" \
    -m stages.train
