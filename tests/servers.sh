# Sourced by test.sh and by the scripts beside this one: what the tests need besides the .NET SDK. Installing starts nothing.

as_root() { if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo -n "$@"; fi; }
debian_packages() { as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "$@"; }

# try_install NAME LOG COMMAND...: says so where it fails, since the tests that need it are then skipped.
try_install() {
  local name=$1 log=$2
  shift 2
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 || { echo "could not install $name:"; tail -n 3 "$log"; }
}

# Postgres and RabbitMQ, from Debian's packages.
install_servers() {
  [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server && -d /usr/lib/postgresql ]] && return
  command -v apt-get >/dev/null || return
  try_install "postgresql and rabbitmq-server" "$1/packages.log" debian_packages postgresql rabbitmq-server
}

# A server that speaks S3, from npm.
install_bucket() {
  [[ -x artifacts/s3rver/node_modules/.bin/s3rver ]] && return
  command -v npm >/dev/null || ! command -v apt-get >/dev/null || try_install npm "$1/npm.log" debian_packages npm
  try_install s3rver "$1/s3rver.log" npm install --silent --no-audit --no-fund --prefix artifacts/s3rver s3rver@3.7.1
}

# end_to_end CLASS: one class of the end-to-end tests on real servers; what it writes to $report is shown while it goes on.
end_to_end() {
  install_servers artifacts/test-results
  dotnet build tests/EndToEnd.Tests -c Release --nologo -v quiet -clp:NoSummary || return 1
  tail --pid=$$ -n +1 -f "$report" &
  local follower=$! code
  export OMP_WAIT_POLICY=passive # as in test.sh
  dotnet test tests/EndToEnd.Tests -c Release --no-build --nologo --filter "FullyQualifiedName~$1" --logger "console;verbosity=minimal" \
    | grep -vE '^(Test run for|A total of|VSTest version|$)'
  code=${PIPESTATUS[0]}
  sleep 1
  kill "$follower"
  [[ -s $report ]] || { echo "nothing was reported: the tests were skipped or failed"; code=1; }
  return "$code"
}
