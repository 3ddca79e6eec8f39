#!/usr/bin/env bash
# Makes the traces that come with the program, and the pictures of README.md and docs/, with the built-in model as it now is.
#
#   bash docs/remake.sh            # then read what README.md, docs/ and the notes below say of them: that is written by hand
#
# Needs Node and Chromium, as the browser tests do.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release
program=$(realpath "${CARGO_TARGET_DIR:-target}/release/trimkv-trace")

# One head of each kind in traces/long, and the head that holds the facts.
heads=L1H1,L2H3,L1H0,L3H1
facts=L3H1

# What is to be seen in each trace.
note_codes="Asked for a code that it read 450 tokens earlier, the model still knows it: with 64 places per head, one head of layer 3 \
keeps every digit of the story, 22 of them, and no other head more than 11. Four heads, two of them in layer 1, hold the first \
token to the end."
note_sums="Rings are lost and bought on days scattered through a story; two heads, one of layer 2 and one of layer 3, keep all four \
numbers that the sum needs, and its result is right."
note_long="A story of 4,100 tokens and 128 places per head: two heads hold the first token to the end, four are sliding windows, one \
keeps the ends of sentences nearly twice as long as other tokens, and one head of layer 3 still has 48 of 52 digits at the end, those \
asked for among them; yet the code that comes out, 3 2 2, is not the one that was read, 1 0 2."

trace() { # NAME NOTE FLAGS...
  local name=$1 note=$2
  shift 2
  rm -rf "traces/$name"
  "$program" "prompts/$name.txt" --prefill-chunk 16 "$@" -o "traces/$name"
  python3 - "traces/$name/manifest.json" "$note" <<'PYTHON'
import json, sys
path, note = sys.argv[1:]
with open(path) as file:
    manifest = json.load(file)
with open(path, "w") as file:
    json.dump({**manifest, "note": note}, file, indent=2, ensure_ascii=False)
    file.write("\n")
PYTHON
}
trace codes "$note_codes"
trace sums "$note_sums"
trace long "$note_long" --budget 128 --buffer 16

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
figure() { # NAME PRESET TRACE FLAGS...
  local name=$1
  shift
  "$program" figure "$@" -o "$work/$name.png"
  mv "$work/$name.png" "docs/$name-builtin.png"
}
figure fig4 fig4 traces/long --heads "$heads" --width 6.75in
figure text text traces/codes --heads "$facts"
figure lifeline lifeline traces/long --heads "$facts" --dpi 150
figure roles roles traces/long --dpi 150
figure budget budget traces/codes --dpi 150
figure training training backend/model/builtin/gates

# The dashboard is shown with the traces that are inside the program, so they have to get there first.
cargo build --release
(cd frontend && { [ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund; } && node bench/pictures.mjs "$program" "$facts")
