#!/usr/bin/env bash
# Rounds of four runs of the same data at once on two workers, undisturbed and with a worker killed in each round:
# counts runs that are stuck, or that end with other bytes than alone.
# Usage: tests/sweep.sh [ROUNDS]      20 rounds if left out; one takes about ten seconds
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/servers.sh
report=$(mktemp)
trap 'rm -f "$report"' EXIT
export ARMOFLOW_SWEEP_ROUNDS=${1:-20} ARMOFLOW_TEST_REPORT=$report
end_to_end SweepTests
