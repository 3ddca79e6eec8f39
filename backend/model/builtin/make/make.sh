#!/usr/bin/env bash
# The making of the built-in model from nothing: tokenizer, base weights, gates, and what they answer.
#
#   bash backend/model/builtin/make/make.sh WORK      # WORK keeps the state of every step; run it again to go on
#
# Needs Python 3.10 or newer with venv, and an hour and a half of two cores. What it makes is left in WORK; --install copies it into place.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
work=${1:?name a folder for the work}
program=target/release/trimkv-trace
here=backend/model/builtin/make

# Tokens of a document, steps, weight of its story, weight of naming whom a token's sentence is about, price of reading, share of
# rows whose old sentences are seen by their ends and digits alone, optimiser of the matrices. Naming is what makes values be found by
# the name of their sentence, ends what makes gist heads; the price makes the sink, which stays when it is gone. The rate falls to
# nothing before each slash.
stages=128:500:0.1:0.3:0:0:muon,256:400:0.2:0.3:0:0.5:muon,512:500:0.2:0.3:0:0.5:muon,1024:150:0.2:0:0:0.5:muon,2048:60:0.2:0:0:0:muon
stages=$stages/512:250:0.2:0:0.1:0.5:adamw,1024:120:0.2:0:0.1:0.5:adamw,2048:80:0.2:0:0.1:0.5:adamw,4096:40:0.2:0:0.1:0:adamw
stages=$stages,2048:120:0.2:0:0:0.5:adamw,4096:40:0.2:0:0:0:adamw,1024:80:0.2:0:0:0.75:adamw,512:150:0.2:0:0:0.75:adamw

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
  [ -d "$work/gates-$seed" ] && continue
  begun=$work/gates-$seed.begun
  if [ -f "$begun/state.safetensors" ]; then
    $program train --resume "$begun"
  else
    rm -rf "$begun"
    $program train --data builtin --max-documents 1200 --loss-on answers --model "$work/base" \
      --budget 16 --buffer 8 --gate-bias 2.8 --weight-decay 0.5 --learning-rate 3e-3 --steps 250 --seed $seed -o "$begun"
  fi
  mv "$begun" "$work/gates-$seed"
done

$program evaluate --model "$work/base" --gates "$work/gates-1,$work/gates-2,$work/gates-3" \
  --policies trimkv --budgets 32,48,64,96 | tee "$work/tables.md"

if [ "${2:-}" = --install ]; then
  cp "$work"/base/* backend/model/builtin/
  cp "$work"/gates-1/training*.parquet backend/model/builtin/gates/ # for the picture of their training
  for seed in 1 2 3; do
    to=$here/gates-$seed
    [ $seed = 1 ] && to=backend/model/builtin/gates
    mkdir -p "$to"
    cp "$work/gates-$seed/trimkv_weights.pth" "$to/"
    # The base goes by its name inside the program, and the gates recommend the budget at which they answer well.
    sed -e 's|"base_model": .*|"base_model": "builtin",|' -e 's/"memory_size": .*/"memory_size": 64,/' \
      -e 's/"buffer_size": .*/"buffer_size": 16,/' "$work/gates-$seed/config.json" > "$to/config.json"
  done
fi
