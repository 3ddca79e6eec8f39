"""Puts what gpu-check.sh measured so far into gpu.json and gpu.md.

    python gpu_table.py OUT
"""

import json
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
load = lambda path: json.loads(path.read_text())
named = lambda kind: {path.stem: load(path) for path in sorted(out.glob(f"{kind}-*.json"))}
parity, kernels, peers = named("parity"), named("kernels"), named("peer")
bench = {name: report for kind in ["tiny", "bounded", "full", "operations", "always", "prefill"] for name, report in named(kind).items()}
failures = {path.stem: path.read_text().strip() for path in sorted(out.glob("*.failed"))}
machine = (out / "machine.txt").read_text().strip().splitlines()
found = {"machine": machine, "parity": parity, "kernels": kernels, "bench": bench, "peer": peers, "failed": failures}
(out / "gpu.json").write_text(json.dumps(found, indent=1))

# Tokens/s on one H200 in the paper's table: full cache and TRIM-KV.
PAPER = {("qwen3-4b", 32768, 4): (68, 130), ("qwen3-4b", 16384, 4): (114, 151), ("qwen3-4b", 16384, 8): (139, 280)}
# Largest differences of kernels from what they stand for.
ALLOWED = {"f32": 1e-4, "bf16": 2e-2, "f16": 4e-3}
percent = lambda share: f"{100 * share:.0f} %"
size = lambda count: f"{count / 1e9:.1f} GB" if count else "not measured"

lines = [" · ".join(machine), ""]
lines += [f"- **{name} failed**: {why}" for name, why in failures.items()]
for report in parity.values():
    runs = report["runs"]
    parted = sum(run["parting"] is not None for run in runs)
    captured = sum(run["captured"] for run in runs)
    lines.append(
        f"- recorded runs in {report['dtype']} on {report['device']}: {report['within']} of {len(runs)} within the tolerance; largest "
        f"difference of logits {max(run['logits'] for run in runs):.1e}, of log beta {max(run['log_beta'] for run in runs):.1e}; "
        f"{parted} part at a tie; {captured} passes were captured steps"
    )
for name, report in bench.items():
    if report.get("no_graph"):
        lines.append(f"- **{name}: the driver made no graph**: {report['no_graph']}")
if bench:
    lines += [
        "",
        "| run | cache | steps | tokens/s | paper, H200 | ms/step (p10 to p90) | of the copy bandwidth | tracing | prefill | cache bytes | peak |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
for name, report in bench.items():
    for run in report["runs"]:
        kept = "full" if report["budget"] is None else f"M = {report['budget']} + {report['buffer']}"
        if run["record"]:
            kept += ", traced"
        known = PAPER.get((report["model"], report["context"], report["batch"]))
        known = "" if known is None else str(known[0 if report["budget"] is None else 1])
        step = run["ms_per_step"]
        cost = report["tracing_cost"]
        chunk = report["prefill_chunk"]
        lines.append(
            f"| {report['model']} in {report['dtype']}, {report['context']:,} x {report['batch']}, {report['generate']} generated | {kept} | {report['steps']} "
            f"| {run['tokens_per_second']:.0f} | {known} "
            f"| {step['median']:.2f} ({step['p10']:.2f} to {step['p90']:.2f}) | {percent(run['share_of_copy_bandwidth'])} "
            f"| {f'{100 * cost:+.1f} %' if run['record'] and cost is not None else ''} "
            f"| {run['prefill_seconds']:.2f} s{f' in chunks of {chunk:,}' if chunk else ''} "
            f"| {run['cache_bytes'] / 1e9:.2f} GB | {size(report['peak_bytes'])} |"
        )
if peers:
    lines += ["", "| plain transformers, full cache | tokens/s | ms/step | prefill, side by side | peak |", "|---|---|---|---|---|"]
lines += [
    f"| {peer['model']}, {peer['context']:,} x {peer['batch']} ({peer['tool']}) | {peer['tokens_per_second']:.0f} "
    f"| {peer['ms_per_step']:.2f} | {peer['prefill_seconds']:.2f} s | {size(peer['peak_bytes'])} |"
    for peer in peers.values()
]
if kernels:
    lines += ["", "| kernel | type | itself | composed | faster | largest difference |", "|---|---|---|---|---|---|"]
for report in kernels.values():
    for one in report["kernels"]:
        # Not a number is not within anything.
        mark = "" if one["difference"] <= ALLOWED[report["dtype"]] else " **too much**"
        lines.append(
            f"| {one['kernel']} | {report['dtype']} | {one['kernel_seconds'] * 1e6:.1f} us | {one['composed_seconds'] * 1e6:.1f} us "
            f"| {one['composed_seconds'] / one['kernel_seconds']:.1f}x | {one['difference']:.1e}{mark} |"
        )
if bench:
    lines += ["", "; ".join(f"{name}: copying {report['copy_bytes_per_second'] / 1e9:.0f} GB/s" for name, report in bench.items())]
(out / "gpu.md").write_text("\n".join(lines) + "\n")
