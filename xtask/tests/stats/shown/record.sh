#!/usr/bin/env bash
# Makes anew what the documentation's pictures are drawn from: the records of real runs, and a terminal's screen as one sees it. It works in a
# clone of this repository's last commit, on the engine that is there, and needs tmux and jq. `BLESS=1 cargo test -p xtask --test stats pictures`
# then draws them. `record.sh terminal` makes the screen alone,
# and `record.sh tour` prints what the tour shows.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet "$(git -C "$here" rev-parse --show-toplevel)" "$clone/shop"
cd "$clone/shop"
git remote remove origin
cargo build --quiet --package xtask
tool="${CARGO_TARGET_DIR:-target}/debug/xtask"
xtask() { "$tool" "$@"; }

# What docs/tour.md shows of builds, on standard output: to be put there by hand.
if [ "${1:-}" = tour ]; then
    shown() { echo "\$ cargo xtask $*" && { xtask "$@" 2>&1 | grep -v -e '│' -e '^to build:' -e '^warning:' -e '^hint:' || true; }; }
    xtask build > /dev/null 2>&1
    shown build --no-cache
    shown build
    echo "// one line" >> apps/worker/src/main.ts
    shown plan
    shown build
    exit
fi

if [ "${1:-}" != terminal ]; then

# A cold build, two at a time: the page's timeline. Not the first, which has the engine to start and the base images to fetch.
xtask build
xtask build --no-cache --jobs 2
cold=$(ls target/xtask/runs | tail -1)

# A day's edits: nothing, one service, a shared package, a mistake, one that is stopped.
for edit in 1 2 3 4 5 6; do
    xtask build
    echo "// edit $edit" >> apps/web/src/main.ts
    xtask build
    echo "// edit $edit" >> packages/contract/src/index.ts
    xtask build
done
cp apps/api/src/main.ts "$clone/main.ts"
echo "const wrong: number = 'text';" >> apps/api/src/main.ts
xtask build || true
cp "$clone/main.ts" apps/api/src/main.ts
timeout --signal INT 4 "$tool" build --no-cache || true
xtask build

cp "target/xtask/runs/$cold/run.json" target/xtask/history.jsonl "$here"
xtask layers --json | jq '[.images[] | {service: (.image | sub(".*/"; "") | sub("[:@].*"; "")), layers: [.layers[] | [(.line.text // ."made-by"), ."packed-bytes"]]}]' > "$here/layers.json"

fi

# A terminal of 100 columns: an edit, and what a build makes of it.
xtask build
terminal="shown-$$"
tmux -f /dev/null new-session -d -s "$terminal" -x 100 -y 30 "env PS1='\$ ' bash --norc --noprofile"
tmux set-option -t "$terminal" status off
types() { tmux send-keys -t "$terminal" "$1" Enter; }
screen() { tmux capture-pane -t "$terminal" -p -e; }
last() { screen | sed -e 's/\x1b\[[0-9;]*m//g' -e 's/ *$//' -e '/^$/d' | tail -1; }
prompted() { until [ "$(last)" = '$' ]; do sleep 0.2; done; }
sleep 1
# Never the same twice: an edit that was built before costs nothing.
types 'echo "// Edited $(date)" >> packages/handlers/src/index.ts'
sleep 1
types 'cargo xtask build'
sleep 2
prompted
types 'cargo xtask build'
sleep 2
prompted
screen | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' > "$here/terminal.txt"
tmux kill-session -t "$terminal"
