#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Boot figures, trivet beside QEMU's microvm in one run: start to /init and KVM_RUN calls in the KVM testbed, start to the first KVM_RUN on this
# machine's own /dev/kvm, resident memory. usage: boot_bench.sh [--check]     --check: fails where a bar does not hold that no load can move:
# counts and sizes. Times are printed beside their bars and never fail.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_program
check_bars=${1:-}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$e2e_root/scripts/guest-image" --out "$out/guest" >/dev/null || exit 1
"${CXX:-c++}" -std=c++20 -O2 -shared -fPIC -fno-exceptions -static-libstdc++ -static-libgcc "$e2e_root/tests/e2e/run_clock.cpp" -o "$out/run_clock.so" || exit 1

# median FILE VMM COLUMN
median() { awk -v vmm="$2" -v column="$3" '$1 == vmm { print $column }' "$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# timed TEXT VALUE OPERATOR LIMIT: prints the bar and whether it holds; bar fails, too, where it does not. What was not measured holds nothing.
timed() {
  if [[ $2 =~ ^[0-9.]+$ ]] && awk -v a="$2" -v b="$4" "BEGIN { exit !(a $3 b) }"; then echo "$1 (bar $3 $4: held)"; else echo "$1 (bar $3 $4: short)" && return 1; fi
}
bar() { timed "$@" || failed=$((failed + 1)); }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

in_testbed "$out" boot_bench.sh boot 3 >"$out/boot" || exit 1
trivet=$(median "$out/boot" trivet 2) qemu=$(median "$out/boot" qemu-microvm 2)
times=$(ratio "$qemu" "$trivet")
timed "start to /init in the testbed: trivet $trivet s, QEMU microvm $qemu s; $times times as fast" "$times" ">=" 2
bar "KVM_RUN calls from start to /init and off: trivet $(median "$out/boot" trivet 3), QEMU microvm $(median "$out/boot" qemu-microvm 3)" \
  "$(median "$out/boot" trivet 3)" "<=" 300
bar "resident without guest memory, KiB: trivet $(median "$out/boot" trivet 5), QEMU microvm $(median "$out/boot" qemu-microvm 5)" \
  "$(median "$out/boot" trivet 5)" "<=" 4096

if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
  "$e2e_root/tests/e2e/inside/boot_bench.sh" "$out" entry 5 >"$out/entry" || exit 1
  trivet=$(median "$out/entry" trivet 4) qemu=$(median "$out/entry" qemu-microvm 4)
  timed "start to the first KVM_RUN on this machine's /dev/kvm: trivet $trivet us, QEMU microvm $qemu us; $(ratio "$qemu" "$trivet") times as fast" \
    "$trivet" "<=" 5000
else
  echo "start to the first KVM_RUN: this machine has no /dev/kvm to use"
fi
[ "$check_bars" != --check ] || [ "$failed" = 0 ]
