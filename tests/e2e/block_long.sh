#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux's driver on our block device under fio, with verification: mixed sizes at random, 128 requests in flight, several queues, packed and split rings, over MMIO and PCI, past the
# host's page cache and through it; what the guest wrote is checked by the host, too, and what it discarded is gone from the host's file.
# usage: block_long.sh [CASE...]
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest --tools
. "$e2e_root/scripts/lib/common.sh"
. "$e2e_root/scripts/lib/kernels.sh"
add_modules "$(echo "$(kernel_folder amd64)"/lib/modules/*)" "$out/modules" brd crc32c_generic ext4 || exit 1
E2E_TIMEOUT=${E2E_TIMEOUT:-1700} E2E_MEMORY=512
testbed_options=(--memory 2560)
kept=4 used=64 cut=16
# name, form, vCPUs, --platform, --block's keys beside the path
cases=(
  "mmio vmlinux 1 virtio=mmio direct=off"
  "mmio-direct vmlinux 1 virtio=mmio direct=on"
  "pci-queues vmlinux 4 virtio=pci queues=4,direct=off"
  "pci-queues-direct vmlinux 4 virtio=pci queues=4,direct=on"
  "mmio-queues vmlinux 2 virtio=mmio queues=2,direct=on"
  "mmio-split vmlinux 1 virtio=mmio,packed=off direct=on"
  "pci-split-queues vmlinux 4 virtio=pci,packed=off queues=4,direct=off"
)
only "$@"
in_testbed "$out" block_long.sh $kept $used $cut "${cases[@]}" || { echo "the testbed failed"; exit 1; }

for case in "${cases[@]}"; do
  read -r name _ _ platform block <<<"$case"
  before=$failed
  log=$out/$name.log
  sum=$(cat "$out/$name.kept")
  [[ $block =~ queues=([0-9]+) ]] && queues=${BASH_REMATCH[1]} || queues=1
  check "$name: exit status 0" is "$(cat "$out/$name.status")" 0
  check "$name: as many queues as were asked for" has "^guest: queues $queues\b" "$log"
  [[ $platform == *packed=off* ]] && packed=0 || packed=1
  check "$name: rings of the form that was asked for" has "^guest: packed $packed" "$log"
  for job in mixed host trim; do check "$name: fio's $job job" has "^guest: fio $job ok" "$log"; done
  check "$name: what the guest reads of what the host wrote" has "^guest: kept $sum" "$log"
  check "$name: and again in the end" has "^guest: kept again $sum" "$log"
  check "$name: the host finds it unchanged" has "^kept $sum" "$out/$name.host"
  check "$name: the host's own fio verifies what the guest's wrote" has '^verified 0$' "$out/$name.host"
  check "$name: ... all of it" has "IOPS=.*\\(${used}\\.?0?MiB|READ: .*io=${used}(\\.0)?MiB" "$out/$name.host"
  check "$name: what is discarded is zero" has '^guest: discarded is zero' "$log"
  check "$name: and is gone from the host's file" has "^MiB given back $cut\$" "$out/$name.host"
  check "$name: nothing failed in the guest" hasnt 'guest: FAIL|I/O error|Oops|Call Trace|Kernel panic' "$log"
  check "$name: nothing on stderr" is "$(cat "$out/$name.err")" ""
  sed -n 's/^guest: \(fio [a-z]* [a-z]* IOPS.*\)/     \1/p' "$log"
  [ "$failed" = "$before" ] || { show "$log" 40; show "$out/$name.err"; show "$out/$name.host" 30; }
done
finish
