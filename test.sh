#!/usr/bin/env bash
# Builds and runs the tests. Needs the .NET SDK only. Prints a last line "N passed, N failed, N skipped".
#
#   ./test.sh            every test, and how much of the mathematics they cover
#   ./test.sh --quick    all but the end-to-end tests; needs no servers
#   ./test.sh NAME       the tests whose full name contains NAME, such as a class's; in all projects
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
only=""
projects=(House Contracts RewardModel Persistence Workers Orchestrator EndToEnd)
case ${1:-} in
  -h | --help)
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
  --quick) projects=(House Contracts RewardModel Persistence Workers Orchestrator) ;;
  -*)
    echo "test.sh: no option $1. See: ./test.sh --help" >&2
    exit 2
    ;;
  ?*)
    only=$1
    mapfile -t projects < <(grep -rlE "class \w*|void |Task " tests --include="*.cs" | grep -v /obj/ | xargs grep -lF "$only" \
      | sed -E 's|tests/([A-Za-z]+)\.Tests/.*|\1|' | grep -v '^tests/' | sort -u)
    [[ ${#projects[@]} -gt 0 ]] || { echo "test.sh: nothing in tests holds '$only'" >&2; exit 2; }
    ;;
esac
results="artifacts/test-results"
rm -rf "$results"
mkdir -p "$results"
# Real servers for the end-to-end tests. Where they cannot be had, the tests say so.
source tests/servers.sh
if [[ " ${projects[*]} " == *" EndToEnd "* ]]; then
  install_servers "$results"
  install_bucket "$results"
fi
# As users have it: optimised, and the program compiled ahead. The analysers have their say in .ci/run, and in every other build.
dotnet build ArmoFlow.sln -c Release -p:RunAnalyzers=false --nologo -v quiet -clp:NoSummary || exit 1
export OMP_WAIT_POLICY=passive # several processes share the cores: a thread that waits leaves them to the others
export DOTNET_EnableWriteXorExecute=0 # half of what tests take is compiling, and each method's memory is mapped twice for that
# run_tests: one project's tests; sets outcome.
run_tests() {
  dotnet test "tests/$project.Tests" -c Release --no-build --nologo --logger "trx;LogFileName=$project.trx" \
    --results-directory "$results" "${collect[@]}" "${filter[@]}" 2>&1 | tee "$results/$project.log" \
    | grep -vE '^(Test run for|A total of|VSTest version|Attachments:|  /|$)'
  outcome=${PIPESTATUS[0]}
}
# test_project NAME: one project's tests, again where the process crashed; fails if a test does.
test_project() {
  local project=$1 code=0 collect filter outcome try
  echo "== $project.Tests"
  # The logger's file holds each test's outcome; the console keeps failures and skips with their reasons.
  collect=()
  [[ $project == RewardModel && -z $only ]] && collect=(--collect "XPlat Code Coverage")
  filter=()
  [[ -n $only ]] && filter=(--filter "FullyQualifiedName~$only")
  run_tests
  # VSTest calls a run "passed" whose process crashed half-way. Such a run counts for nothing: it is done again, and at last fails.
  for try in 2 3 4; do
    [[ $project != EndToEnd ]] && grep -q 'FATAL ERROR' "$results/$project.log" || break
    echo "$project.Tests: the test process crashed; running it again (try $try)"
    run_tests
  done
  ! grep -q 'FATAL ERROR' "$results/$project.log" || { echo "$project.Tests: the test process crashed each time"; code=1; }
  [[ $outcome -eq 0 ]] || code=1
  # A crash of the test process leaves no result file: that is a failure, not silence.
  [[ -f $results/$project.trx ]] || { echo "$project.Tests left no results"; code=1; }
  return "$code"
}
code=0
# First, alone, what is covered: the collector rewrites assemblies that the other projects' folders share by hard links.
[[ " ${projects[*]} " != *" RewardModel "* ]] || test_project RewardModel || code=1
# The others side by side, each telling its outcome as it ends; then, alone with the machine, the end-to-end tests.
declare -A running=()
for project in "${projects[@]}"; do
  [[ $project == RewardModel || $project == EndToEnd ]] && continue
  (said=$(test_project "$project"); outcome=$?; echo "$said"; exit "$outcome") &
  running[$project]=$!
done
for project in "${!running[@]}"; do wait "${running[$project]}" || code=1; done
[[ " ${projects[*]} " != *" EndToEnd "* ]] || test_project EndToEnd || code=1

count() { cat "$results"/*.trx 2>/dev/null | grep -oE "<Counters [^>]*" | grep -oE " $1=\"[0-9]+\"" | grep -oE '[0-9]+' | paste -sd+ | bc_sum; }
bc_sum() { local sum=0 n; IFS=+ read -ra parts; for n in "${parts[@]:-0}"; do sum=$((sum + n)); done; echo "$sum"; }
passed=$(count passed) failed=$(count failed) skipped=$(( $(count total) - $(count executed) ))

if [[ -n $only ]]; then
  echo "$passed passed, $failed failed, $skipped skipped"
  [[ $passed -gt 0 && $failed -eq 0 ]] || code=1
  exit $code
fi

# The mathematics is covered to 90 % of its lines; the report says how much, and less is a failure.
coverage=$(cat "$results"/*/coverage.cobertura.xml | awk '
  /<package / { inside = index($0, "name=\"ArmoFlow.RewardModel\"") > 0 }
  inside && /<class / { match($0, /filename="[^"]*"/); file = substr($0, RSTART + 10, RLENGTH - 11) }
  inside && /<line / { match($0, /number="[0-9]+"/); n = substr($0, RSTART + 8, RLENGTH - 9); key = file ":" n; seen[key] = 1; if ($0 !~ /hits="0"/) hit[key] = 1 }
  END { for (k in seen) { total++; if (k in hit) covered++ } printf "%.1f", total ? 100 * covered / total : 0 }')
echo "RewardModel: $coverage % of lines covered"
awk -v c="$coverage" 'BEGIN { exit !(c >= 90) }' || { echo "expected at least 90 %"; code=1; }
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]] || code=1
exit $code
