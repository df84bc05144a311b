#!/usr/bin/env bash
# Score a checkpoint on several GPUs, or in several processes:  bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]
. "$(dirname "$0")/torchrun.sh"
run "$3" test.py "$1" "$2" "${@:4}"
