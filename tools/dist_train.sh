#!/usr/bin/env bash
# Train on several GPUs, or in several processes on a CPU:  bash tools/dist_train.sh CONFIG PROCESSES [options of train.py]
# On several machines, on each: NNODES=2 NODE_RANK=0|1 MASTER_ADDR=HOST PORT=29500 bash tools/dist_train.sh ...
. "$(dirname "$0")/torchrun.sh"
run "$2" train.py "$1" "${@:3}"
