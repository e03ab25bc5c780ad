#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What a guest's run costs on the simulator of /dev/mshv beside the same run on KVM, which the simulator runs it on: the built-in guest, both in
# turns, medians. No bar: it is the simulator's overhead, not the backend's.     usage: guest_overhead.sh [BUILD] [ROUNDS]
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
build=${1:-$root/build/release} rounds=${2:-15}
[ -r /dev/kvm ] && [ -w /dev/kvm ] || { echo "guest_overhead: /dev/kvm is missing or closed" >&2; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# once NAME COMMAND...: a line "milliseconds exits" to OUT/NAME.
once() {
  local name=$1 started=$EPOCHREALTIME
  shift
  timeout 60 "$@" run --hypervisor "$name" --stats </dev/null >/dev/null 2>"$out/stats"
  awk -v a="$started" -v b="$EPOCHREALTIME" -v stats="$(cat "$out/stats")" \
    'BEGIN { match(stats, /exits=[0-9]+/); printf "%.1f %d\n", (b - a) * 1000, substr(stats, RSTART + 6, RLENGTH - 6) }' >>"$out/$name"
}
median() { cut -d ' ' -f "$2" "$out/$1" | sort -n | sed -n "$(((rounds + 1) / 2))p"; }

for ((i = 0; i < rounds; i++)); do
  once kvm "$build/bin/trivet"
  once mshv "$root/scripts/with-mshv-simulator" --build "$build" "$build/bin/trivet"
done
awk -v kvm="$(median kvm 1)" -v mshv="$(median mshv 1)" -v kvm_exits="$(median kvm 2)" -v mshv_exits="$(median mshv 2)" -v rounds="$rounds" 'BEGIN {
  printf "the built-in guest, start to end, medians of %d: simulator %.1f ms, %d exits; KVM %.1f ms, %d exits; %.2f times as long\n",
    rounds, mshv, mshv_exits, kvm, kvm_exits, mshv / kvm }'
