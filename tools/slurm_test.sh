#!/usr/bin/env bash
# Score a checkpoint under Slurm, a process per GPU:  GPUS=8 GPUS_PER_NODE=8 bash tools/slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [options of test.py]
# SRUN_ARGS goes to srun, e.g. SRUN_ARGS='--time=48:00:00'.
GPUS=${GPUS:-4} && GPUS_PER_NODE=${GPUS_PER_NODE:-$GPUS}
exec srun -p "$1" --job-name="$2" --gres="gpu:$GPUS_PER_NODE" --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" \
  --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 $SRUN_ARGS \
  "${PYTHON:-python}" -u "$(dirname "$0")/test.py" "${@:3}" --launcher slurm
