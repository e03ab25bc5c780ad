#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Debian's cloud kernel reaches userspace under trivet in both forms, with 1 and 4 vCPUs, block, console and rng, over MMIO and over PCI, with packed rings and split ones, all interrupt
# controllers in the hypervisor and with local APICs only (on Xen: HVM and PVH domains; on MSHV: the simulator, in the testbed of KVM); what the guest wrote is on the disk.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest
nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' \n')
# form, vCPUs, --platform, the interrupts that the guest must see
case $E2E_HYPERVISOR:${E2E_PLATFORM:-} in
  kvm:)
    says=KVM
    cases=(
      "vmlinuz 1 virtio=auto IO-APIC"
      "vmlinux 4 virtio=auto,packed=off IO-APIC"
      "vmlinux 1 virtio=pci PCI-MSI"
      "vmlinuz 4 virtio=pci,packed=off,notification_data=off PCI-MSI"
    ) ;;
  kvm:irqchip=split)
    says=KVM
    cases=(
      "vmlinuz 1 irqchip=split,virtio=mmio IO-APIC"
      "vmlinux 4 irqchip=split,virtio=mmio IO-APIC"
      "vmlinux 1 irqchip=split PCI-MSI"
      "vmlinuz 4 irqchip=split PCI-MSI"
    ) ;;
  xen:)
    says=Xen
    E2E_MEMORY=256
    # Linux takes lines and messages as event channels in a domain that may have them, which is an HVM one.
    cases=(
      "vmlinux 1 irqchip=split PCI-MSI"
      "vmlinuz 4 irqchip=split PCI-MSI"
      "vmlinuz 1 virtio=auto xen-pirq.*ioapic"
      "vmlinux 4 virtio=auto xen-pirq.*ioapic"
      "vmlinux 1 irqchip=full,virtio=pci xen-pirq.*msi"
    ) ;;
  mshv:)
    says="Microsoft Hyper-V"
    cases=(
      "vmlinux 1 virtio=auto PCI-MSI"
      "vmlinux 4 virtio=mmio IO-APIC"
    ) ;;
  *) echo "no cases for $E2E_HYPERVISOR with --platform $E2E_PLATFORM" >&2; exit 2 ;;
esac
in_testbed "$out" linux_boot.sh "$nonce" "${cases[@]}" || { echo "the testbed failed"; exit 1; }

for case in "${cases[@]}"; do
  read -r form vcpus platform interrupts <<<"$case"
  case=$form-$vcpus-${platform//,/+}
  before=$failed
  log=$out/$case.log
  check "$case: exit status 0" is "$(cat "$out/$case.status")" 0
  check "$case: reaches /init" has '^TRIVET-INIT' "$log"
  check "$case: the guest's uname" has '^Linux .* x86_64' "$log"
  check "$case: sees $vcpus vCPUs" has "^guest: cpus $vcpus.?\$" "$log"
  check "$case: sees $says" has "^guest: hypervisor $says" "$log"
  check "$case: checksums of the mounted disk" has '^guest: disk checksums ok' "$log"
  check "$case: writes the disk" has '^guest: disk written' "$log"
  check "$case: random bytes from virtio-rng" has '^guest: rng 32 bytes from virtio_rng.*: [0-9a-f]{64}' "$log"
  check "$case: writes the console" has '^guest: console written' "$log"
  check "$case: the console's text arrives" has 'hello from hvc0' "$out/$case.hvc0"
  check "$case: virtio interrupts by $interrupts" has "^guest: interrupt .*$interrupts.*virtio" "$log"
  check "$case: and by nothing else" is "$(grep '^guest: interrupt ' "$log" | grep -vc "$interrupts")" 0
  # Linux takes packed rings wherever they are offered; on PCI its kicks say how far it is.
  ring=packed
  case $platform in *packed=off*) ring=split ;; esac
  check "$case: each device's ring is $ring" has "^guest: virtio ring $ring" "$log"
  check "$case: and no other" is "$(grep '^guest: virtio ring ' "$log" | grep -vc "ring $ring")" 0
  case $interrupts:$platform in *MSI:*notification_data=off* | *msi:*notification_data=off* | *IO-APIC:* | *ioapic:*) ;; *)
    check "$case: kicks carry data" has "^guest: virtio ring $ring, notification data" "$log" ;;
  esac
  check "$case: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic' "$log"
  check "$case: nothing on stderr" is "$(cat "$out/$case.err")" ""
  check "$case: the file system is clean" clean_filesystem "$out/$case.img"
  check "$case: the guest's file is there, of this run" wrote_nonce "$out/$case.img" "$nonce-$case"
  [ "$failed" = "$before" ] || { show "$log"; show "$out/$case.err"; }
done
check "the random bytes differ from run to run" is \
  "$(cat "$out"/*.log | grep -o 'rng 32 bytes from .*' | sort -u | wc -l)" "${#cases[@]}"
finish
