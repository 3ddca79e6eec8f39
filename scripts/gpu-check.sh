#!/usr/bin/env bash
# Checks and measures on a machine with a GPU, with a binary that was built elsewhere. It needs the binary, this
# repository's recorded runs, bash and Python 3 (standard library only; with PyTorch and transformers there is a peer too).
#
#   scripts/gpu-check.sh BINARY OUT            everything; results in OUT/gpu.json and OUT/gpu.md
#   SMOKE=1 scripts/gpu-check.sh BINARY OUT    the same steps with a tiny model, for instance on the CPU
#
# The table is written anew after every step, a step that fails or takes too long is told in it, and the rest goes on: on a
# machine that is lent for minutes the most telling steps come first, and whatever there was time for is kept. Exit code 1
# when a step failed.
#
# DEVICE    where to run [default: cuda:0]
# FIXTURES  the recorded runs [default: tests/fixtures/golden of this repository]
# ROUNDS    repetitions of each measurement [default: 1]
# GENERATE  tokens to generate, where not 1,024 as in the paper
# LIMIT     seconds that a step may take [default: 240]
# ONLY      a pattern of steps to take: 'parity-*', 'full-16384-*', '@(parity-f32|bounded-16384-4)'
set -uo pipefail

if [ $# -ne 2 ]; then
  sed -n '2,19s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi
binary=$(realpath "$1") || exit 1
mkdir -p "$2" || exit 1
out=$(realpath "$2")
here=$(cd "$(dirname "$0")/.." && pwd)
fixtures=${FIXTURES:-$here/tests/fixtures/golden}
device=${DEVICE:-cuda:0}
rounds=${ROUNDS:-1}
limit=${LIMIT:-240}

# NVIDIA's libraries where Python wheels put them, for a loader that does not know the place.
wheels=$(python3 -c 'import site, glob, os; print(":".join(d for s in site.getsitepackages() for d in glob.glob(os.path.join(s, "nvidia", "*", "lib"))))' 2>/dev/null || true)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}${wheels:+:$wheels}

say() { printf '\n== %s\n' "$1" >&2; }

say "the machine"
{ nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader 2>/dev/null || echo "no nvidia-smi"; } | tee "$out/machine.txt" >&2
"$binary" --version | tee -a "$out/machine.txt" >&2

# A step: its name, then a command that prints JSON.
failed=0
step() {
  local name=$1 status started=$SECONDS
  shift
  # shellcheck disable=SC2053 # ONLY is a pattern
  [[ $name == ${ONLY:-*} ]] || return 0
  say "$name"
  rm -f "$out/$name.failed"
  timeout "$limit" "$@" >"$out/$name.tmp" 2> >(tee "$out/$name.said" >&2)
  status=$?
  # A check whose results are outside their tolerance prints them all the same.
  if python3 -m json.tool "$out/$name.tmp" /dev/null 2>/dev/null; then mv "$out/$name.tmp" "$out/$name.json"; fi
  if [ $status -ne 0 ]; then
    failed=1
    { [ $status -eq 124 ] && echo "took more than $limit s" || { echo "exit code $status:"; tail -n 3 "$out/$name.said"; }; } | tr '\n' ' ' >"$out/$name.failed"
    cat "$out/$name.failed" >&2
  fi
  rm -f "$out/$name.tmp" "$out/$name.said"
  echo "$((SECONDS - started)) s" >&2
  table
}

# Everything that OUT holds by now, as one JSON object and as a page.
table() { python3 "$here/scripts/gpu_table.py" "$out"; }

# The flags of trimkv-trace bench.
bench() { step "$1" "$binary" bench --device "$device" --rounds "$rounds" --json "${@:2}"; }

if [ -n "${SMOKE:-}" ]; then
  model=(--model tiny --dtype f32)
  types=(f32 bf16)
  peer_dtype=float32
  generate=(--generate "${GENERATE:-40}")
  few=(--generate 20)
  contexts=(64:2 96:2 64:3)
  budget=32
  buffer=8
  long=256
  chunk=64
else
  # The settings of the TRIM-KV paper's table 4: context and batch, 1,024 tokens generated, M = 1,024.
  model=(--model qwen3-4b --dtype bf16)
  types=(f32 bf16)
  peer_dtype=bfloat16
  generate=(--generate "${GENERATE:-1024}")
  few=(--generate 256)
  contexts=(16384:4 16384:8 32768:4)
  budget=1024
  buffer=128
  long=32768
  chunk=4096
fi
bounded=(--budget "$budget" --buffer "$buffer")
first=(--context "${contexts[0]%:*}" --batch "${contexts[0]#*:}")

# A tiny model in seconds: whether steps become graphs here at all.
for dtype in "${types[@]}"; do
  bench "tiny-$dtype" --model tiny --dtype "$dtype" --context 64 --generate 40 --batch 2 --budget 32 --buffer 8 --record off
done
for dtype in "${types[@]}"; do
  step "parity-$dtype" "$binary" parity "$fixtures" --device "$device" --dtype "$dtype" --json
done
for dtype in "${types[@]}"; do
  # The kernels alone, and how far they are from what they stand for.
  bench "kernels-$dtype" --kernels "${model[@]:0:2}" --dtype "$dtype" --batch 4 "${bounded[@]}"
done
bench "bounded-${contexts[0]/:/-}" "${model[@]}" "${generate[@]}" "${first[@]}" "${bounded[@]}" --record both
# What graphs and cuts on the device are worth: the same without, and a cut at every step.
bench "operations-${contexts[0]/:/-}" "${model[@]}" "${few[@]}" "${first[@]}" "${bounded[@]}" --record off --steps operations
bench "always-${contexts[0]/:/-}" "${model[@]}" "${few[@]}" "${first[@]}" --budget "$budget" --buffer 1 --record off
has_peer=$(python3 -c "import torch, transformers; print('yes')" 2>/dev/null)
if [ -z "$has_peer" ]; then say "no PyTorch with transformers here: no peer"; fi
for setting in "${contexts[@]}"; do
  work=(--context "${setting%:*}" --batch "${setting#*:}")
  name=${setting/:/-}
  if [ "$setting" != "${contexts[0]}" ]; then
    bench "bounded-$name" "${model[@]}" "${generate[@]}" "${work[@]}" "${bounded[@]}" --record off
  fi
  bench "full-$name" "${model[@]}" "${few[@]}" "${work[@]}" --budget full --record off
  if [ -n "$has_peer" ]; then
    # Plain transformers with the full cache, the same shape on the same machine.
    step "peer-$name" python3 -W ignore "$here/scripts/gpu_peer.py" "${model[1]}" "${work[1]}" "${work[3]}" 128 "$device" "$peer_dtype"
  fi
done
bench "prefill-$long-chunked" "${model[@]}" --generate 16 --context "$long" --batch 1 "${bounded[@]}" --prefill-chunk "$chunk" --record off
bench "prefill-$long-whole" "${model[@]}" --generate 16 --context "$long" --batch 1 "${bounded[@]}" --record off

say "the table"
table
cat "$out/gpu.md"
exit $failed
