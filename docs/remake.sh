#!/usr/bin/env bash
# Makes the traces that come with the program, and the pictures of README.md and docs/, with the built-in model as it now is. One
# picture is of the training of its gates, whose log is not kept: `trimkv-trace figure training GATES` with what make.sh leaves.
#
#   bash docs/remake.sh            # then read what README.md, docs/ and the notes below say of them: that is written by hand
#
# Needs Node and Chromium, as the browser tests do.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release
program=$(realpath "${CARGO_TARGET_DIR:-target}/release/trimkv-trace")

# One head of each kind in traces/long, and the head that holds the facts.
heads=L2H2,L4H0,L2H3,L4H2
facts=L4H2

# What is to be seen in each trace.
note_codes="Asked for a code that it read 450 tokens earlier, the model still knows it: with 64 places per head, one head of layer 4 \
keeps every digit of the story, 22 of them, and no other head more than 3. Six heads of layers 2 and 3 hold the first token, on which \
their attention rests."
note_sums="Rings are lost and bought on days scattered through a story; one head of layer 4 keeps the four numbers that the sum needs, \
no other head more than one of them, and its result is right."
note_long="A story of 4,100 tokens and 128 places per head: six heads hold the first token to the end, four keep the ends of sentences, \
one is a sliding window, and one head of layer 4 keeps 44 of 52 digits, those asked for among them; yet the code that comes out, 4 4 7, \
is not the one that was read, 1 0 2."

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

(cd frontend && { [ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund; } && node bench/pictures.mjs "$program" "$facts")
