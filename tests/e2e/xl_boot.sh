#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Boot figures on Xen, trivet beside xl in one run of the testbed: until the guest may run its first instruction, and to Linux's /init, in a PVH domain of
# 256 MiB. Only the order is held: every time is of an emulated, perhaps busy machine.
set -uo pipefail
export E2E_HYPERVISOR=xen
. "$(dirname "$0")/lib.sh"
need_program
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
guest=$("$e2e_root/scripts/guest-image") || exit 1
repetitions=3
"$e2e_root/scripts/testbed" xen --xl --timeout "${E2E_TIMEOUT:-420}" --env "TRIVET_BIN=$TRIVET_BIN" -- \
  "$e2e_root/tests/e2e/inside/xl_boot.sh" "$guest" vmlinux 1 $repetitions >"$out/figures" || { cat "$out/figures"; exit 1; }
cat "$out/figures"

median() { awk -v who="$1" -v column="$2" '$1 == who { print $column }' "$out/figures" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ahead() { awk -v ours="$1" -v theirs="$2" 'BEGIN { exit !(ours > 0 && ours < theirs) }'; }
compare() {
  local ours theirs
  ours=$(median trivet "$2") theirs=$(median xl "$2")
  check "$1: trivet $ours s, xl $theirs s; $(awk -v a="$theirs" -v b="$ours" 'BEGIN { printf "%.2f", a / b }') times as fast" ahead "$ours" "$theirs"
}
check "every run gave its figures" is "$(wc -l <"$out/figures")" $((2 * repetitions))
compare "until the guest may run" 2
compare "to /init" 3
finish
