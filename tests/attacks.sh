#!/usr/bin/env bash
# Attacks a served workspace, and an orchestrator with a worker, beside ordinary runs and a client that scores.
# Usage: tests/attacks.sh [RUNS]      10 ordinary runs if left out
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/servers.sh
report=$(mktemp)
trap 'rm -f "$report"' EXIT
export ARMOFLOW_ATTACK_RUNS=${1:-10} ARMOFLOW_TEST_REPORT=$report
end_to_end AttackTests
