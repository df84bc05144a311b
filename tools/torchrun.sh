# run PROCESSES TOOL [arguments]: for dist_*.sh. One machine picks a free port by itself.
run() {
  local where=(--standalone)
  if [ "${NNODES:-1}" != 1 ]; then
    where=(--nnodes "$NNODES" --node_rank "$NODE_RANK" --master_addr "$MASTER_ADDR" --master_port "${PORT:-29500}")
  fi
  exec "${PYTHON:-python}" -m torch.distributed.run "${where[@]}" --nproc_per_node "$1" \
    "$(dirname "$0")/$2" "${@:3}" --launcher pytorch
}
