#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux's driver on our network device, over MMIO and over PCI, against the network stack of the testbed's kernel behind a tap: ping, megabytes both ways
# with checksums; with segmentation offloads and without, an MTU of 9000, two queue pairs, a rate limit, receive-side scaling.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest
E2E_TIMEOUT=${E2E_TIMEOUT:-880}
head -c 2000000 /dev/urandom >"$out/payload"
checksum=$(sha256sum <"$out/payload")
# name, form, vCPUs, --platform, --net's other keys, the tap's MTU, options of ip tuntap
cases=(
  "mmio vmlinux 1 virtio=mmio ,mac=52:54:00:12:34:56 1500"
  "pci vmlinux 1 virtio=pci ,mac=52:54:00:12:34:56 1500"
  "plain vmlinux 1 virtio=auto ,mac=52:54:00:12:34:56,offload=off 1500"
  "jumbo vmlinux 1 virtio=pci ,mac=52:54:00:12:34:56,offload=off,mtu=9000 9000"
  "pairs vmlinux 2 virtio=pci ,mac=52:54:00:12:34:56,queues=2,tx_bytes=4000000 1500 multi_queue"
  "rss vmlinux 2 virtio=pci ,mac=52:54:00:12:34:56,queues=2,rss=on 1500 multi_queue"
)
in_testbed "$out" net.sh "${cases[@]}" || { echo "the testbed failed"; exit 1; }

# mean CASE DIRECTION: bytes in a packet.
mean() { awk -v d="$2" '$1 == d "_bytes" { b = $2 } $1 == d "_packets" { p = $2 } END { print p ? int(b / p) : 0 }' "$out/$1.counters"; }
above() { [ "$1" -gt "$2" ]; }
for case in "${cases[@]}"; do
  read -r name _ _ _ net mtu _ <<<"$case"
  before=$failed
  log=$out/$name.log
  check "$name: exit status 0" is "$(cat "$out/$name.status")" 0
  check "$name: the address that was given" has '^guest: net eth0/address 52:54:00:12:34:56' "$log"
  check "$name: the MTU" has "^guest: net eth0/mtu $mtu" "$log"
  check "$name: ping" has '^guest: net ping ok' "$log"
  check "$name: ping with 8000 bytes" has '^guest: net large ping ok' "$log"
  check "$name: what the guest downloads" has "^guest: net payload ${checksum%% *}" "$log"
  check "$name: what the guest sends" is "$(sha256sum <"$out/$name.sent")" "$checksum"
  check "$name: down and up again" has '^guest: net ping again ok' "$log"
  check "$name: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic' "$log"
  check "$name: nothing on stderr" is "$(cat "$out/$name.err")" ""
  from=$(mean "$name" rx) to=$(mean "$name" tx)
  echo "     $name: $from bytes a packet from the guest, $to to it"
  case $name in
    plain) check "$name: no packet is a segment to be cut" above 1515 "$from" && check "$name: nor to it" above 1515 "$to" ;;
    jumbo) check "$name: large packets from the guest" above "$from" 1515 && check "$name: and to it" above "$to" 1515 ;;
    *) check "$name: segments to be cut from the guest" above "$from" 1515 && check "$name: and to it" above "$to" 1515 ;;
  esac
  if [ "$name" = pairs ]; then
    check "$name: two queues each way" has '^guest: net queues rx-0 rx-1 tx-0 tx-1' "$log"
    for queue in 0 1; do check "$name: queue $queue receives" has "^guest: net interrupts input.$queue: .*[1-9]" "$log"; done
  fi
  if [ "$name" = rss ]; then  # bits 57 and 60
    check "$name: the driver takes hash reports and steers itself" has '^guest: net eth0/device/features [01]{57}1..1' "$log"
    check "$name: which the device does for it" hasnt 'committing failed' "$log"
  fi
  [ "$failed" = "$before" ] || { show "$log" 40; show "$out/$name.err"; }
done
finish
