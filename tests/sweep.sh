#!/usr/bin/env bash
# Rounds of four runs of the same data at once on two workers, undisturbed and with a worker killed in each round:
# counts runs that are stuck, or that end with other bytes than alone.
# Usage: tests/sweep.sh [ROUNDS]      20 rounds if left out
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
report=$(mktemp)
trap 'rm -f "$report"' EXIT
dotnet build tests/EndToEnd.Tests -c Release --nologo -v quiet -clp:NoSummary || exit 1
ARMOFLOW_SWEEP_ROUNDS=${1:-20} ARMOFLOW_SWEEP_REPORT=$report dotnet test tests/EndToEnd.Tests -c Release --no-build --nologo --filter "FullyQualifiedName~SweepTests" \
  | grep -vE '^(Test run for|A total of|VSTest version|$)'
code=${PIPESTATUS[0]}
cat "$report"
exit "$code"
