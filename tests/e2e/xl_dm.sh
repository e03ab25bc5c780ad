#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# trivet dm serves a guest that xl made, PVH or HVM, with Debian's kernel: it mounts the disk, checksums hold, what it wrote is there; it has random bytes and a
# network; one that reboots is served on; the process that serves has given up its privileges; afterwards no domain, no process and no mapping is left.
# The HVM guest has QEMU beside it, and SeaBIOS and GRUB boot it from a disk of ours: what QEMU reads for a guest, it reads byte by byte.
set -uo pipefail
export E2E_HYPERVISOR=xen
. "$(dirname "$0")/lib.sh"
need_program
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$e2e_root/scripts/guest-image" --out "$out/guest" >/dev/null || exit 1
nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' \n')
cases=("pvh 4 poweroff" "pvh 1 reboot_once" "hvm 2 poweroff")
"$e2e_root/scripts/boot-disk" "$out/guest" "console=hvc0 panic=1 quiet trivet.do=poweroff trivet.nonce=$nonce-hvm-2" || exit 1
head -c 2000000 /dev/urandom >"$out/payload"
checksum=$(sha256sum <"$out/payload")
testbed_options=(--xl)
E2E_TIMEOUT=${E2E_TIMEOUT:-800}
in_testbed "$out" xl_dm.sh "$nonce" "${cases[@]}" || { echo "the testbed failed, or a domain is left"; exit 1; }

for case in "${cases[@]}"; do
  read -r type vcpus end <<<"$case"
  case=$type-$vcpus
  before=$failed
  log=$out/$case.log
  check "$case: dm names its devices" has '^block 0: virtio-pci at 00:10.0' "$out/$case.dm"
  check "$case: and says when it is ready" has '^ready: serving domain [0-9]+ with 25[0-9] MiB' "$out/$case.dm"
  check "$case: reaches /init" has '^TRIVET-INIT' "$log"
  check "$case: sees $vcpus vCPUs" has "^guest: cpus $vcpus.?\$" "$log"
  check "$case: checksums of the mounted disk" has '^guest: disk checksums ok' "$log"
  check "$case: writes the disk" has '^guest: disk written' "$log"
  check "$case: random bytes from virtio-rng" has '^guest: rng 32 bytes from virtio_rng.*: [0-9a-f]{64}' "$log"
  check "$case: virtio interrupts are messages" has '^guest: interrupt .*(PCI-MSI|xen-pirq.*msi).*virtio' "$log"
  if [ "$type" = hvm ]; then
    check "$case: takes the messages as event channels" has '^guest: interrupt .*xen-pirq.*msi.*virtio0' "$log"
    check "$case: QEMU serves it, too" has xen-qemu "$out/$case.beside"
  fi
  if [ "$case" = pvh-4 ]; then
    check "$case: pings" has '^guest: net ping ok' "$log"
    check "$case: what the guest downloads" has "^guest: net payload ${checksum%% *}" "$log"
    check "$case: what the guest sends" is "$(sha256sum <"$out/$case.sent")" "$checksum"
  fi
  boots=1
  if [ "$end" = reboot_once ]; then
    boots=2
    check "$case: the guest reboots, into another domain" has '^domain [0-9]+ ended: waiting for the one that takes its place' "$out/$case.dm"
    check "$case: which is served" has '^serving domain [0-9]+ with 25[0-9] MiB' "$out/$case.dm"
  fi
  check "$case: boots $boots times, with its disk" is "$(grep -c '^guest: disk checksums ok' "$log")" $boots
  check "$case: every thread that serves has no capability" hasnt '^[0-9]+/status:Cap[A-Z][a-z]*:.*[1-9a-f]' <(grep -v CapBnd "$out/$case.privileges")
  check "$case: ... is confined to a few system calls" is "$(grep -c 'Seccomp:.2$' "$out/$case.privileges")" "$(grep -c 'NoNewPrivs:.1$' "$out/$case.privileges")"
  check "$case: ... all of them" has "Seccomp:.2\$" "$out/$case.privileges"
  check "$case: ... and cannot get new privileges" hasnt 'NoNewPrivs:.0|Seccomp:.0' "$out/$case.privileges"
  check "$case: ... and holds no control interface of Xen's" hasnt 'xen/(xenbus|gnt)|xenstored' "$out/$case.privileges"
  check "$case: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic' "$log"
  check "$case: dm ends with the guest, well" is "$(cat "$out/$case.status")" 0
  check "$case: and says so" has '^domain [0-9]+ ended$' "$out/$case.dm"
  check "$case: nothing on stderr" is "$(cat "$out/$case.err")" ""
  check "$case: no domain is left" is "$(tail -n +2 "$out/$case.list" | wc -l)" 1
  check "$case: no process is left" is "$(cat "$out/$case.left")" ""
  check "$case: the file system is clean" clean_filesystem "$out/$case.img"
  check "$case: the guest's file is there, of this run" wrote_nonce "$out/$case.img" "$nonce-$case"
  [ "$failed" = "$before" ] || { show "$log"; show "$out/$case.privileges" 80; show "$out/$case.dm"; show "$out/$case.err"; }
done
finish
