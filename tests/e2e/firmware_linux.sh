#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# A disk as a PC has it: SeaBIOS loads GRUB's first sector from our virtio-blk, GRUB reads Linux and its initial RAM disk from it through SeaBIOS, and Linux
# takes the same disk over with its own driver, on ACPI tables that SeaBIOS has placed; it powers off through ACPI's fixed registers.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_program
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' \n')
"$e2e_root/scripts/boot-disk" --bios "$out/guest" "console=ttyS0 panic=1 quiet trivet.nonce=$nonce" || exit 1
# name, vCPUs, --platform
cases=("full 2 irqchip=full" "split 1 irqchip=split")
E2E_TIMEOUT=${E2E_TIMEOUT:-600}
in_testbed "$out" firmware_linux.sh "${cases[@]}" || { echo "the testbed failed"; exit 1; }

for case in "${cases[@]}"; do
  read -r name vcpus _ <<<"$case"
  before=$failed
  log=$out/$name.text
  check "$name: exit status 0" is "$(cat "$out/$name.status")" 0
  check "$name: GRUB reads the disk" has 'GRUB-READS-THE-DISK' "$log"
  check "$name: Linux reaches /init" has '^TRIVET-INIT' "$log"
  check "$name: sees $vcpus vCPUs" has "^guest: cpus $vcpus\$" "$log"
  check "$name: virtio interrupts by messages, where SeaBIOS put the BARs" has '^guest: interrupt .*PCI-MSI.*0000:00:02.0.*virtio0-req' "$log"
  check "$name: checksums of the disk that GRUB read" has '^guest: disk checksums ok' "$log"
  check "$name: writes the disk" has '^guest: disk written' "$log"
  check "$name: random bytes" has '^guest: rng 32 bytes' "$log"
  check "$name: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic' "$log"
  check "$name: nothing on stderr" is "$(cat "$out/$name.err")" ""
  check "$name: the file system is clean" clean_filesystem "$out/$name.img"
  check "$name: the guest's file is there, of this run" wrote_nonce "$out/$name.img" "$nonce"
  [ "$failed" = "$before" ] || { show "$log" 60; show "$out/$name.debug"; show "$out/$name.err"; }
done
finish
