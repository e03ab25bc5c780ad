#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux's driver on our network device under iperf3, 10 seconds each way: segments to be cut and whole packets, an MTU of 9000, one and two queue pairs,
# over MMIO and PCI; and queue reset, over PCI: the rings change their sizes 20 times under traffic both ways.
# usage: net_long.sh [CASE...]
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest --tools
E2E_TIMEOUT=${E2E_TIMEOUT:-1700}
seconds=10
head -c 2000000 /dev/urandom >"$out/payload"
checksum=$(sha256sum <"$out/payload")
# name, vCPUs, --platform, --net's other keys, the tap's MTU, connections at once, how often the rings change their sizes (Linux resets no queue over MMIO: its
# driver there has no way to), options of ip tuntap
cases=(
  "mmio 1 virtio=mmio ,queues=1 1500 1 0"
  "pci-jumbo 1 virtio=pci ,mtu=9000 9000 1 20"
  "pci-pairs 2 virtio=pci ,queues=2 1500 2 20 multi_queue"
  "mmio-pairs-jumbo 2 virtio=mmio ,queues=2,mtu=9000 9000 2 0 multi_queue"
)
only "$@"
in_testbed "$out" net_long.sh $seconds "${cases[@]}" || { echo "the testbed failed"; exit 1; }

# megabytes LOG NAME END: what that end counts, whole.
megabytes() {
  sed -nE "s/^guest: iperf $2 .* ([0-9.]+) (MBytes|GBytes) .*$3.*/\1 \2/p" "$1" | awk '{ print int($2 == "GBytes" ? $1 * 1024 : $1); exit }'
}
above() { [ "${1:-0}" -gt "$2" ]; }
no_more_than() { [ "$1" -ge 0 ] && [ "$1" -le "$2" ]; }
counted() { sed -n "s/^$1 //p" "$out/$name.counters"; }
at_most() { [ "${1:-0}" -gt 0 ] && [ "$1" -le "$2" ]; }
# mean LOG NAME sent|received: bytes in a packet, as the guest's driver counts.
mean() { sed -nE "s/^guest: mean $2 .*$3 ([0-9]+).*/\1/p" "$1"; }
for case in "${cases[@]}"; do
  read -r name _ _ _ mtu streams resizes _ <<<"$case"
  before=$failed
  log=$out/$name.log
  check "$name: exit status 0" is "$(cat "$out/$name.status")" 0
  check "$name: the MTU" has "^guest: net eth0/mtu $mtu" "$log"
  check "$name: ping" has '^guest: net ping ok' "$log"
  for run in up-on down-on up-off down-off after; do
    check "$name: iperf3 $run" has "^guest: iperf $run ok" "$log"
    for end in sender receiver; do check "$name: iperf3 $run, bytes at the $end" above "$(megabytes "$log" $run $end)" 0; done
  done
  check "$name: segmentation on, then off" is "$(sed -n 's/^guest: net tso \([a-z]*\).*/\1/p' "$log" | tr '\n' ' ')" "on off "
  check "$name: on: segments to be cut from the guest" above "$(mean "$log" up-on sent)" "$mtu"
  check "$name: off: none from the guest" at_most "$(mean "$log" up-off sent)" $((mtu + 14))
  if [ "$resizes" != 0 ]; then
    check "$name: the rings changed their sizes $resizes times" has "^guest: resized $resizes times under traffic" "$log"
    check "$name: under traffic, which went on" has '^guest: iperf resized ok' "$log"
  fi
  check "$name: what the guest downloads afterwards" has "^guest: net payload ${checksum%% *}" "$log"
  check "$name: what the guest sends" is "$(sha256sum <"$out/$name.sent")" "$checksum"
  [ "$streams" = 1 ] || check "$name: two queues each way" has '^guest: net queues rx-0 rx-1 tx-0 tx-1' "$log"
  check "$name: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic|NETDEV WATCHDOG' "$log"
  check "$name: nothing on stderr" is "$(cat "$out/$name.err")" ""
  # TCP sends again what was lost, in the tap, which drops what comes while its queue is full, or in our device; and what it takes for lost, because it came
  # late or after its successor: a tap with several queues moves a connection to the queue that the guest sent from last. Queue reset may lose what the
  # driver has not looked at.
  received=$(sed -nE 's/^guest: driver received ([0-9]+).*/\1/p' "$log")
  lost=$(($(counted tx_packets) - ${received:-0}))
  [ "$resizes" != 0 ] || check "$name: each frame that left the tap came to the driver" no_more_than "$lost" 3
  echo "     $name: $(counted tx_packets) frames left the tap, which dropped $(counted tx_dropped); $lost were lost after it; the host sent $(counted RetransSegs) segments" \
    "again, $(counted TCPTimeouts) times for want of an answer; the guest had $(counted TCPDSACKRecv) already; reordered" \
    "$(($(counted TCPSACKReorder) + $(counted TCPTSReorder))) times"
  sed -nE 's/^guest: (iperf [a-z-]* \[.*|mean.*|retransmitted.*)/     \1/p' "$log"
  [ "$failed" = "$before" ] || { show "$log" 60; show "$out/$name.err"; show "$out/$name.iperf" 40; }
done
finish
