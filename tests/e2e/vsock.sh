#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux's own driver and programs of the host through virtio-vsock: checked bytes both ways at once, connected from either side, streams and messages,
# several connections at a time, over PCI and over MMIO.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest
bytes=1000000
in_testbed "$out" vsock.sh "$bytes" pci mmio || { echo "the testbed failed"; exit 1; }
for home in pci mmio; do
  before=$failed
  log=$out/$home.log
  check "$home: exit status 0" is "$(cat "$out/$home.status")" 0
  for end in "connect vsock:1024 stream: $bytes bytes each way on 3" "connect vsock:1025 seqpacket: $bytes bytes each way on 2" \
    "listen vsock:52 stream: $bytes bytes each way on 3" "listen vsock:53 seqpacket: $bytes bytes each way on 2"; do
    check "$home: in the guest, $end connections" has "^guest: vsock ok $end connections" "$log"
  done
  for end in "listen unix:.*_1024 stream" "listen unix:.*_1025 seqpacket" "connect relay:.*:52 stream" "connect relay:.*\.seqpacket:53 seqpacket"; do
    check "$home: on the host, $end" has "^ok $end: $bytes bytes each way" "$out/$home.peers"
  done
  check "$home: nothing went wrong on the host" hasnt 'guest-peer:' "$out/$home.peers"
  check "$home: who listens on no port is refused" has '^guest: vsock refused .*Connection reset' "$log"
  check "$home: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic|guest: vsock guest-peer' "$log"
  check "$home: nothing on stderr" is "$(cat "$out/$home.err")" ""
  check "$home: no socket is left" is "$(cat "$out/$home.left")" ""
  [ "$failed" = "$before" ] || { show "$log" 40; show "$out/$home.peers"; show "$out/$home.err"; }
done
finish
