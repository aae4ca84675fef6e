#!/usr/bin/env bash
# Injects every fault of FaultInjectionTests into runs of a spec and sums up what happened.
# Usage: tests/faults.sh [SPEC.yaml]      without a spec: the sample project, cut down
set -uo pipefail
spec=${1:+$(realpath "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/servers.sh
report=$(mktemp)
trap 'rm -f "$report"' EXIT
export ARMOFLOW_FAULT_SPEC=$spec ARMOFLOW_TEST_REPORT=$report
end_to_end FaultInjectionTests
code=$?
awk -F'[:,]' '/^FAULTS/ { split($2, f, " "); faults += f[1]; runs++; if ($4 !~ /Completed/) lost++; split($5, d, " "); divergent += d[1] }
  END { printf "%d faults injected into %d runs: %d lost, %d divergent artifacts\n", faults, runs, lost, divergent }' "$report"
exit "$code"
