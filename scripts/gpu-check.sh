#!/usr/bin/env bash
# Checks and measures on a machine with a GPU, with a binary that was built elsewhere. It needs the binary, this
# repository's recorded runs, bash and Python 3 (standard library only). It stops at the first thing that fails.
#
#   scripts/gpu-check.sh BINARY OUT            everything; results in OUT/gpu.json and OUT/gpu.md
#   SMOKE=1 scripts/gpu-check.sh BINARY OUT    the same steps with a tiny model, for instance on the CPU
#
# DEVICE    where to run [default: cuda:0]
# FIXTURES  the recorded runs [default: tests/fixtures/golden of this repository]
# ROUNDS    repetitions of each measurement [default: 2]
# ONLY      a pattern of steps to take, for a machine that is lent for minutes: 'parity-*', 'bounded-*', 'full-16384-*';
#           the table holds whatever OUT has by then
set -euo pipefail

if [ $# -ne 2 ]; then
  sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi
binary=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
here=$(cd "$(dirname "$0")/.." && pwd)
fixtures=${FIXTURES:-$here/tests/fixtures/golden}
device=${DEVICE:-cuda:0}
rounds=${ROUNDS:-2}

# NVIDIA's libraries where Python wheels put them, for a loader that does not know the place.
wheels=$(python3 -c 'import site, glob, os; print(":".join(d for s in site.getsitepackages() for d in glob.glob(os.path.join(s, "nvidia", "*", "lib"))))' 2>/dev/null || true)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}${wheels:+:$wheels}

say() { printf '\n== %s\n' "$1" >&2; }

say "the machine"
{ nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader 2>/dev/null || echo "no nvidia-smi"; } | tee "$out/machine.txt" >&2
"$binary" --version | tee -a "$out/machine.txt" >&2

# shellcheck disable=SC2053 # ONLY is a pattern
wanted() { [[ $1 == ${ONLY:-*} ]]; }

for dtype in f32 bf16; do
  wanted "parity-$dtype" || continue
  say "recorded runs in $dtype"
  "$binary" parity "$fixtures" --device "$device" --dtype "$dtype" --json >"$out/parity-$dtype.json" ||
    { status=$?; cat "$out/parity-$dtype.json" >&2; exit $status; }
done

# The kernels alone, and how far they are from the tensor operations they stand for: a second look at their results.
kernels() {
  wanted "kernels-$1" || return 0
  say "kernels in $1"
  "$binary" bench --kernels --device "$device" --rounds "$rounds" --dtype "$1" --json "${@:2}" >"$out/kernels-$1.json"
  python3 - "$out/kernels-$1.json" <<'PYTHON'
import json, sys

allowed = {"f32": 1e-4, "bf16": 2e-2, "f16": 4e-3}
report = json.load(open(sys.argv[1]))
for kernel in report["kernels"]:
    print(f"{kernel['kernel']}: {kernel['kernel_seconds'] * 1e6:.1f} us, composed {kernel['composed_seconds'] * 1e6:.1f} us, differs by {kernel['difference']:.1e}")
    if not kernel["difference"] <= allowed[report["dtype"]]:
        sys.exit(f"{kernel['kernel']} differs by more than {allowed[report['dtype']]}")
PYTHON
}

# name, then the flags of trimkv-trace bench
measure() {
  local name=$1
  shift
  wanted "$name" || return 0
  say "$name"
  "$binary" bench --device "$device" --rounds "$rounds" --json "$@" >"$out/bench-$name.json"
}

if [ -n "${SMOKE:-}" ]; then
  common=(--model tiny --dtype f32 --generate 40 --buffer 8)
  contexts=(96:2 64:2 64:3)
  peer_dtype=float32
  short=20
  budget=32
  long=256
  chunk=64
else
  # The settings of the TRIM-KV paper's table 4: context and batch, 1,024 tokens generated, M = 1,024.
  common=(--model qwen3-4b --dtype bf16 --generate 1024 --buffer 128)
  contexts=(32768:4 16384:4 16384:8)
  peer_dtype=bfloat16
  short=256
  budget=1024
  long=32768
  chunk=4096
fi
for dtype in f32 bf16; do
  kernels "$dtype" "${common[@]:0:2}" --batch 4 --budget "$budget" --buffer "${common[-1]}"
done
for setting in "${contexts[@]}"; do
  context=${setting%:*}
  batch=${setting#*:}
  measure "bounded-$context-$batch" "${common[@]}" --context "$context" --batch "$batch" --budget "$budget" --record both
  measure "full-$context-$batch" "${common[@]}" --context "$context" --batch "$batch" --budget full --record off
done
# Plain transformers with the full cache on the same machine, where there is PyTorch.
if python3 -c "import torch, transformers" 2>/dev/null; then
  for setting in "${contexts[@]}"; do
    context=${setting%:*}
    batch=${setting#*:}
    wanted "peer-$context-$batch" || continue
    say "peer-$context-$batch"
    python3 -W ignore "$here/scripts/gpu_peer.py" "${common[1]}" "$context" "$batch" 128 "$device" "$peer_dtype" >"$out/peer-$context-$batch.json"
  done
else
  say "no PyTorch with transformers here: no peer"
fi
# What graphs and cuts on the device are worth: the same without, and a cut at every step.
context=${contexts[1]%:*}
batch=${contexts[1]#*:}
few=("${common[@]:0:4}" --generate "$short" --context "$context" --batch "$batch" --budget "$budget" --record off)
measure "operations-$context-$batch" "${few[@]}" --buffer "${common[-1]}" --steps operations
measure "always-$context-$batch" "${few[@]}" --buffer 1
measure "prefill-$long-chunked" "${common[@]}" --context "$long" --batch 1 --budget "$budget" --prefill-chunk "$chunk" --record off

say "the table"
python3 - "$out" <<'PYTHON'
import json, pathlib, sys

out = pathlib.Path(sys.argv[1])
load = lambda path: json.loads(path.read_text())
parity = {path.stem.removeprefix("parity-"): load(path) for path in sorted(out.glob("parity-*.json"))}
bench = {path.stem.removeprefix("bench-"): load(path) for path in sorted(out.glob("bench-*.json"))}
peers = {path.stem.removeprefix("peer-"): load(path) for path in sorted(out.glob("peer-*.json"))}
kernels = [load(path) for path in sorted(out.glob("kernels-*.json"))]
machine = (out / "machine.txt").read_text().strip().splitlines()
(out / "gpu.json").write_text(json.dumps({"machine": machine, "parity": parity, "kernels": kernels, "bench": bench, "peer": peers}, indent=1))

# Tokens/s on one H200 in the paper's table: full cache and TRIM-KV.
paper = {("qwen3-4b", 32768, 4): (68, 130), ("qwen3-4b", 16384, 4): (114, 151), ("qwen3-4b", 16384, 8): (139, 280)}
percent = lambda share: f"{100 * share:.0f} %"
lines = [" · ".join(machine), ""]
for dtype, report in parity.items():
    runs = report["runs"]
    parted = sum(run["parting"] is not None for run in runs)
    captured = sum(run["captured"] for run in runs)
    lines.append(
        f"- recorded runs in {dtype} on {report['device']}: {report['within']} of {len(runs)} within the tolerance; largest difference of "
        f"logits {max(run['logits'] for run in runs):.1e}, of log beta {max(run['log_beta'] for run in runs):.1e}; "
        f"{parted} part at a tie; {captured} passes were captured steps"
    )
lines += [
    "",
    "| model, context x batch | cache | steps | tokens/s | paper, H200 | ms/step (p10 to p90) | of the copy bandwidth | tracing | prefill | cache bytes | peak |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
]
for name, report in bench.items():
    for run in report["runs"]:
        kept = "full" if report["budget"] is None else f"M = {report['budget']} + {report['buffer']}"
        if run["record"]:
            kept += ", traced"
        known = paper.get((report["model"], report["context"], report["batch"]))
        known = "" if known is None else str(known[0 if report["budget"] is None else 1])
        step = run["ms_per_step"]
        cost = report["tracing_cost"]
        peak = report["peak_bytes"]
        chunk = report["prefill_chunk"]
        lines.append(
            f"| {report['model']}, {report['context']:,} x {report['batch']} | {kept} | {report['steps']} | {run['tokens_per_second']:.0f} | {known} "
            f"| {step['median']:.2f} ({step['p10']:.2f} to {step['p90']:.2f}) | {percent(run['share_of_copy_bandwidth'])} "
            f"| {f'{100 * cost:+.1f} %' if run['record'] and cost is not None else ''} "
            f"| {run['prefill_seconds']:.2f} s{f' in chunks of {chunk:,}' if chunk else ''} "
            f"| {run['cache_bytes'] / 1e9:.2f} GB | {f'{peak / 1e9:.1f} GB' if peak else 'not measured'} |"
        )
if peers:
    lines += ["", "| plain transformers, full cache | tokens/s | ms/step | prefill, side by side | peak |", "|---|---|---|---|---|"]
    for peer in peers.values():
        peak = f"{peer['peak_bytes'] / 1e9:.1f} GB" if peer["peak_bytes"] else "not measured"
        lines.append(
            f"| {peer['model']}, {peer['context']:,} x {peer['batch']} ({peer['tool']}) | {peer['tokens_per_second']:.0f} "
            f"| {peer['ms_per_step']:.2f} | {peer['prefill_seconds']:.2f} s | {peak} |"
        )
if kernels:
    lines += ["", "| kernel | type | itself | composed | faster | largest difference |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {one['kernel']} | {report['dtype']} | {one['kernel_seconds'] * 1e6:.1f} us | {one['composed_seconds'] * 1e6:.1f} us "
        f"| {one['composed_seconds'] / one['kernel_seconds']:.1f}x | {one['difference']:.1e} |"
        for report in kernels
        for one in report["kernels"]
    ]
lines += ["", *[f"{name}: copying {report['copy_bytes_per_second'] / 1e9:.0f} GB/s" for name, report in bench.items()]]
(out / "gpu.md").write_text("\n".join(lines) + "\n")
print((out / "gpu.md").read_text())
PYTHON
