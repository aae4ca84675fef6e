#!/usr/bin/env bash
# Kills runs blindly (kill -9), while they start up and while they work, and compares every artifact with the undisturbed run's.
# Usage: tests/kills.sh [KILLS]      of each kind; 30 if left out. ARMOFLOW names another program than ./armoflow.
set -uo pipefail
kills=${1:-30}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
armoflow=${ARMOFLOW:-$root/armoflow}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$armoflow" init "$work/project" 2>/dev/null || exit 1
for file in ratings pairs benchmark; do
  head -200 "$work/project/data/$file.jsonl" > "$work/cut" && mv "$work/cut" "$work/project/data/$file.jsonl"
done
sed -i 's/steps: 1500, batchSize: 256, hidden: \[128, 128, 128\]/steps: 150, batchSize: 64, hidden: [32, 32]/' "$work/project/spec.yaml"

artifacts() { python3 -c 'import json, sys; [print(name, a["sha256"]) for name, a in sorted(json.load(sys.stdin)["artifacts"].items())]'; }
run() { "$armoflow" run "$work/project/spec.yaml" --workspace "$1" --json 2>"$work/error"; }

begin=$(date +%s%N)
run "$work/undisturbed" | artifacts > "$work/expected"
milliseconds=$(( ($(date +%s%N) - begin) / 1000000 ))
echo "undisturbed: $milliseconds ms, $(wc -l < "$work/expected") artifacts"

# Starts a run and kills it after a share of the undisturbed run's time, in thousandths between two.
kill_within() {
  "$armoflow" run "$work/project/spec.yaml" --workspace "$work/killed" --json >/dev/null 2>&1 &
  local process=$! pause=$(( milliseconds * ($1 + RANDOM % ($2 - $1)) / 1000 ))
  sleep "$(( pause / 1000 )).$(printf %03d $(( pause % 1000 )))"
  kill -9 "$process" 2>/dev/null && killed=$((killed + 1))
  wait "$process" 2>/dev/null
}

failures=0 killed=0 checked=0
check() { # the next start works, and gives the same bytes
  if ! run "$work/killed" | artifacts > "$work/found"; then echo "FAILED after $1: $(tail -1 "$work/error")"; failures=$((failures + 1)); return; fi
  ((++checked % 5 == 0)) && echo "  $checked starts after $killed kills, $failures failures"
  cmp -s "$work/expected" "$work/found" || { echo "DIVERGED after $1"; failures=$((failures + 1)); }
}

for ((i = 1; i <= kills; i++)); do
  rm -rf "$work/killed"
  kill_within 20 350
  check "kill $i while starting up"
done
echo "$killed kills while starting up, $failures failures"
for ((i = 1; i <= kills; i++)); do
  rm -rf "$work/killed"
  kill_within 350 950
  check "kill $i while running"
done
rm -rf "$work/killed"
for ((i = 1; i <= kills / 3; i++)); do kill_within 20 950; done # one workspace, killed again and again
check "many kills of one workspace"
echo "$killed kills, $failures failures"
exit $((failures > 0))
