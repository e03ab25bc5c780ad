#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The I/O of one Linux guest, trivet beside QEMU's microvm: the same kernel, initramfs, RAM disk and tap, in one boot of the KVM testbed, in turns. Random reads
# of 4 KiB (fio) at a depth of 1 and 32, TCP (iperf3) both ways; medians, ratios, and whether ours is ahead.
# QEMU 7.2's set-ups, once each, depth 1 / depth 32 / to the host / to the guest: aio=native 820 / 3860 / 769 / 891, io_uring 703 / 3687 / 592 / 754, threads
# 607 / 3746 / 443 / 787; without a thread for the disk io_uring 576 / 1750 / 468 / 726, threads 250 / 3386 / 880 / 870, packed rings 773 / 1824 / 614 / 826.
# The disk's best in both rows is native on a thread; the network is the same in all, and what differs there is the run.
# A busy machine moves both sides: nothing fails here. With --icount a second is so many instructions (scripts/testbed), and the load does not count.
# usage: guest_io_bench.sh [--icount] [REPETITIONS [VMM...]]     VMM: inside/guest_io.sh lists them; the first is compared with the best of the others
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest --tools
. "$e2e_root/scripts/lib/common.sh"
. "$e2e_root/scripts/lib/kernels.sh"
add_modules "$(echo "$(kernel_folder amd64)"/lib/modules/*)" "$out/modules" brd || exit 1
if [ "${1:-}" = --icount ]; then
  testbed_options=(--icount)
  shift
fi
repetitions=${1:-5}
vmms=("${@:2}")
[ ${#vmms[@]} -gt 0 ] || vmms=(trivet qemu)
E2E_TIMEOUT=${E2E_TIMEOUT:-1700} E2E_MEMORY=384
in_testbed "$out" guest_io.sh 3 "$repetitions" "${vmms[@]}" >"$out/figures" || { cat "$out/figures"; exit 1; }

# median VMM NAME
median() { awk -v vmm="$1" -v name="$2" '$1 == vmm && $2 == name { print $3 }' "$out/figures" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# range VMM NAME
range() { awk -v vmm="$1" -v name="$2" '$1 == vmm && $2 == name { print $3 }' "$out/figures" | sort -n | sed -n '1p;$p' | paste -sd-; }
while read -r name what; do
  line="$what:"
  for vmm in "${vmms[@]}"; do line+=" $vmm $(median "$vmm" "$name") [$(range "$vmm" "$name")],"; done
  best=${vmms[1]:-${vmms[0]}}
  for vmm in "${vmms[@]:2}"; do
    ! awk -v a="$(median "$vmm" "$name")" -v b="$(median "$best" "$name")" 'BEGIN { exit !(a > b) }' || best=$vmm
  done
  ratio=$(awk -v a="$(median "${vmms[0]}" "$name")" -v b="$(median "$best" "$name")" 'BEGIN { printf "%.2f", b ? a / b : 0 }')
  if awk -v r="$ratio" 'BEGIN { exit !(r > 1) }'; then held=held; else held=short; fi
  echo "$line ${vmms[0]} to $best $ratio (bar > 1: $held)"
done <<'ROWS'
depth-1 random reads of 4 KiB in a second, one at a time
depth-32 random reads of 4 KiB in a second, 32 at a time
guest-to-host TCP from the guest, Mbit/s
host-to-guest TCP to the guest, Mbit/s
ROWS
