#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux's own driver and programs of the host through virtio-vsock: 16 MiB both ways at once on each of 4 connections at a time, every byte checked, connected
# from either side, streams and messages, over PCI and over MMIO.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest --tools
E2E_TIMEOUT=${E2E_TIMEOUT:-1500}
bytes=$((16 << 20)) connections=4
in_testbed "$out" vsock_long.sh $bytes $connections pci mmio || { echo "the testbed failed"; exit 1; }
for home in pci mmio; do
  before=$failed
  log=$out/$home.log
  check "$home: exit status 0" is "$(cat "$out/$home.status")" 0
  for end in "connect vsock:1024 stream" "connect vsock:1025 seqpacket" "listen vsock:52 stream" "listen vsock:53 seqpacket"; do
    check "$home: in the guest, $end" has "^guest: vsock ok $end: $bytes bytes each way on $connections connections" "$log"
  done
  for end in "listen unix:.*_1024 stream" "listen unix:.*_1025 seqpacket" "connect relay:.*:52 stream" "connect relay:.*\.seqpacket:53 seqpacket"; do
    check "$home: on the host, $end" has "^ok $end: $bytes bytes each way on $connections connections" "$out/$home.peers"
  done
  check "$home: nothing went wrong on the host" hasnt 'guest-peer:' "$out/$home.peers"
  check "$home: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic|guest: vsock guest-peer' "$log"
  check "$home: nothing on stderr" is "$(cat "$out/$home.err")" ""
  check "$home: no socket is left" is "$(cat "$out/$home.left")" ""
  [ "$failed" = "$before" ] || { show "$log" 40; show "$out/$home.peers"; show "$out/$home.err"; }
done
finish
