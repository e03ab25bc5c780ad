#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# SeaBIOS, as Debian packages it, starts at our reset vector and reads a boot sector from our disk with its own drivers, over PCI and over MMIO, with all
# interrupt controllers in the hypervisor and with local APICs only. What the boot sector is told is on the serial port; it ends the machine.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_program
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' \n')
# name, ROM image, --platform, the way to the disk that SeaBIOS must tell of
cases=(
  "pci bios-256k.bin irqchip=auto found.virtio-blk.at.00:02"
  "small bios.bin irqchip=auto found.virtio-blk.at.00:02"
  "mmio bios-microvm.bin virtio=mmio found.virtio-blk-mmio.at"
  "split bios-256k.bin irqchip=split found.virtio-blk.at.00:02"
)
E2E_TIMEOUT=${E2E_TIMEOUT:-300}
in_testbed "$out" firmware.sh "$nonce" "${cases[@]}" || { echo "the testbed failed"; exit 1; }

for case in "${cases[@]}"; do
  read -r name _ _ found <<<"$case"
  before=$failed
  check "$name: exit status 0" is "$(cat "$out/$name.status")" 0
  check "$name: SeaBIOS writes to the serial port" has 'SeaBIOS \(version' "$out/$name.text"
  check "$name: its driver finds the disk" has "$found" "$out/$name.debug"
  check "$name: no driver of its complains" hasnt 'fail to|unsupported|Timeout at|modern device without|magic mismatch|unknown version' "$out/$name.debug"
  check "$name: it counts the processors" has 'Found 2 cpu\(s\)' "$out/$name.debug"
  check "$name: the disk's boot sector runs, and is of this run" has "^BOOT-SECTOR $nonce" "$out/$name.text"
  check "$name: nothing on stderr" is "$(cat "$out/$name.err")" ""
  [ "$failed" = "$before" ] || { show "$out/$name.text"; show "$out/$name.debug" 60; show "$out/$name.err"; }
done
finish
