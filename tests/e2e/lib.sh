# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Shared by the end-to-end tests; to be sourced by bash. A test is a series of named checks; finish prints the sum and gives the exit status.
# E2E_HYPERVISOR (kvm) is what guests run on, and the testbed; mshv is the simulator in the testbed of KVM. The program under test is TRIVET_BIN
# (build/release/bin/trivet, for Xen build/release-xen/...). E2E_PLATFORM, if set, is the --platform of every guest.

e2e_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
E2E_HYPERVISOR=${E2E_HYPERVISOR:-kvm}
case $E2E_HYPERVISOR in
  xen) e2e_build=$e2e_root/build/release-xen ;;
  *) e2e_build=$e2e_root/build/release ;;
esac
TRIVET_BIN=${TRIVET_BIN:-$e2e_build/bin/trivet}
platform_options=(${E2E_PLATFORM:+--platform "$E2E_PLATFORM"})
# More for scripts/testbed; for the script that sources this to set.
testbed_options=()
passed=0
failed=0

# check NAME COMMAND...: passes if the command succeeds, and says so.
check() {
  local name=$1
  shift
  if "$@" >/dev/null 2>&1; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    echo "FAIL $name: $*"
    return 1
  fi
}

# show FILE: the end of a log, after a failure.
show() {
  echo "---- ${1##*/}"
  tail -n "${2:-25}" "$1" | sed 's/^/     /'
}

finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

need_program() {
  [ -x "$TRIVET_BIN" ] || { echo "no program at $TRIVET_BIN: build it, or set TRIVET_BIN" >&2; exit 2; }
}

# need_guest [--tools]: the program under test, and the guest's files in $out/guest; $out goes when the test ends.
need_guest() {
  need_program
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
  "$e2e_root/scripts/guest-image" --out "$out/guest" "$@" >/dev/null || exit 1
}

# only NAME...: keeps those of the array cases that begin with these names; all of them if none is given.
only() {
  local case kept=()
  [ $# -gt 0 ] || return 0
  for case in "${cases[@]}"; do [[ " $* " != *" ${case%% *} "* ]] || kept+=("$case"); done
  [ ${#kept[@]} -gt 0 ] || { echo "no case $* (there are: ${cases[*]%% *})" >&2; exit 2; }
  cases=("${kept[@]}")
}

# in_testbed OUT SCRIPT ARGUMENT...: a script of tests/e2e/inside in the testbed; OUT is the folder for what it leaves.
in_testbed() {
  local out=$1 script=$2
  shift 2
  "$e2e_root/scripts/testbed" "${E2E_HYPERVISOR/mshv/kvm}" "${testbed_options[@]}" --timeout "${E2E_TIMEOUT:-420}" --out "$out" \
    --env "TRIVET_BIN=$TRIVET_BIN" --env "E2E_HYPERVISOR=$E2E_HYPERVISOR" --env "E2E_MEMORY=${E2E_MEMORY:-512}" \
    --env "E2E_PLATFORM=${E2E_PLATFORM:-}" \
    -- "$e2e_root/tests/e2e/inside/$script" "$out" "$@"
}

has() { grep -qE -- "$1" "$2"; }
hasnt() { ! grep -qE -- "$1" "$2"; }
is() { [ "$1" = "$2" ]; }
clean_filesystem() { PATH=$PATH:/usr/sbin:/sbin e2fsck -fn "$1"; }

# wrote_nonce IMAGE NONCE: the file that the guest wrote is in the image and is of this run.
wrote_nonce() {
  local said
  said=$(PATH=$PATH:/usr/sbin:/sbin debugfs -R 'cat /guest-wrote' "$1" 2>/dev/null)
  [ "$said" = "nonce $2
$(echo "$2" | sha256sum)" ]
}

# threads PROCESS: what each of its threads waits for, and its system call.
threads() {
  local task
  for task in "/proc/$1/task"/*; do
    echo "thread $(cat "$task/comm"): state $(cut -d ' ' -f 3 "$task/stat"), in $(cat "$task/wchan"), system call $(cut -d ' ' -f 1-4 "$task/syscall")"
  done 2>/dev/null
}

# bounded SECONDS COMMAND...: its status; 124, and on stderr what it was doing, if it had to be ended.
bounded() {
  local seconds=$1 command alarm first='' status=0
  shift
  "$@" <&0 &
  command=$!
  sleep "$seconds" </dev/null >/dev/null 2>&1 &
  alarm=$!
  wait -n -p first "$command" "$alarm" || status=$?
  if [ "$first" = "$command" ]; then
    kill "$alarm"
    wait "$alarm" 2>/dev/null
  else
    status=124
    echo "still running after $seconds s:" >&2
    threads "$command" >&2
    kill -TERM "$command"
    sleep 5
    ! kill -KILL "$command" 2>/dev/null || echo "and SIGTERM did not end it" >&2
    wait "$command" 2>/dev/null
  fi
  return $status
}

# wait_for PATTERN FILE SECONDS
wait_for() {
  local deadline=$((SECONDS + $3))
  until grep -qE -- "$1" "$2" 2>/dev/null; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.2
  done
}

# Every boot of Linux is one form of the command line: linux_command KERNEL INITRD CMDLINE OPTION... sets the array command.
linux_command() {
  local kernel=$1 initrd=$2 cmdline=$3
  shift 3
  command=("$TRIVET_BIN" run --hypervisor "$E2E_HYPERVISOR" --memory "size_mib=${E2E_MEMORY:-512}"
    --kernel "path=$kernel,initrd=$initrd,cmdline=\"console=ttyS0 panic=1 $cmdline\"" "${platform_options[@]}" "$@")
  [ "$E2E_HYPERVISOR" != mshv ] || command=("$e2e_root/scripts/with-mshv-simulator" --build "${TRIVET_BIN%/bin/*}" "${command[@]}")
}

# running PROGRAM: the processes whose executable it is.
running() {
  local link
  for link in /proc/[0-9]*/exe; do
    [ "$(readlink "$link" 2>/dev/null)" != "$1" ] || echo "$link"
  done
}

# rss_without_guest PID: KiB resident in all mappings but guest memory: the run of adjacent writable mappings that adds up to its size.
rss_without_guest() {
  awk -v guest=$((E2E_MEMORY * 1024)) '
    /^[0-9a-f]+-[0-9a-f]+ / {
      split($1, at, "-")
      if (!(at[1] == end && writable && $2 ~ /^rw/)) close_run()
      end = at[2]; writable = $2 ~ /^rw/
    }
    /^Size:/ { size += $2 }
    /^Rss:/ { rss += $2 }
    function close_run() { if (size < guest) total += rss; size = rss = 0 }
    END { close_run(); print total + 0 }' "/proc/$1/smaps"
}

# seconds_since EPOCHREALTIME
seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }
