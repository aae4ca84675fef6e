#!/usr/bin/env bash
# Attacks a served workspace, and an orchestrator with a worker, beside ordinary runs and a client that scores.
# Usage: tests/attacks.sh [RUNS]      10 ordinary runs if left out
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
report=$(mktemp)
trap 'rm -f "$report"' EXIT
dotnet build tests/EndToEnd.Tests -c Release --nologo -v quiet -clp:NoSummary || exit 1
ARMOFLOW_ATTACK_RUNS=${1:-10} ARMOFLOW_ATTACK_REPORT=$report dotnet test tests/EndToEnd.Tests -c Release --no-build --nologo --filter "FullyQualifiedName~AttackTests" \
  | grep -vE '^(Test run for|A total of|VSTest version|$)'
code=${PIPESTATUS[0]}
cat "$report"
exit "$code"
