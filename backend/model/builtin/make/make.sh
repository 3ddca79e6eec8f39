#!/usr/bin/env bash
# Makes the built-in model from nothing: tokenizer, base weights, gates, and the tables of docs/built-in-model.md.
#
#   bash backend/model/builtin/make/make.sh WORK      # WORK keeps the state of every step; run it again to go on
#
# Needs Python 3.10 or newer with venv, and hours of CPU. What it makes is left in WORK; --install copies it into place.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
work=${1:?name a folder for the work}
program=target/release/trimkv-trace
here=backend/model/builtin/make

# The stages that the weights in the repository went through: tokens of a document, steps, weight of its story.
stages=256:1400:0.1,256:600:0.3,512:1500:0.3,1024:700:0.3,2048:150:0.3

mkdir -p "$work"
cargo build --release
if ! [ -x "$work/venv/bin/python" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet torch numpy safetensors tokenizers
fi
python="$work/venv/bin/python"

[ -f "$work/state/tokenizer.json" ] || "$python" $here/pretrain.py tokenizer --program $program --out "$work/state"
"$python" $here/pretrain.py train --program $program --out "$work/state" --stages $stages --compile --bf16
"$python" $here/pretrain.py export --out "$work/state" --to "$work/base"

for seed in 1 2 3; do
  [ -f "$work/gates-$seed/trimkv_weights.pth" ] || $program train --data builtin --model "$work/base" --loss-on answers --seed $seed -o "$work/gates-$seed"
done

$program evaluate --model "$work/base" --gates "$work/gates-1,$work/gates-2,$work/gates-3" | tee "$work/tables.md"

if [ "${2:-}" = --install ]; then
  cp "$work"/base/* backend/model/builtin/
  cp "$work"/gates-1/{config.json,trimkv_weights.pth} backend/model/builtin/gates/
fi
