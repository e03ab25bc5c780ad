#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux's own driver and programs of the host through virtio-vsock: 16 MiB both ways at once on each of 4 connections at a time, every byte checked, connected
# from either side, streams and messages, packed and split rings, over PCI and over MMIO.
# usage: vsock_long.sh [CASE...]
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest --tools
E2E_TIMEOUT=${E2E_TIMEOUT:-2000}
bytes=$((16 << 20)) connections=4
# name, --platform
cases=(
  "pci virtio=pci"
  "mmio virtio=mmio"
  "pci-split virtio=pci,packed=off"
  "mmio-split virtio=mmio,packed=off"
)
only "$@"
in_testbed "$out" vsock_long.sh $bytes $connections "${cases[@]}" || { echo "the testbed failed"; exit 1; }
for case in "${cases[@]}"; do
  read -r name platform <<<"$case"
  before=$failed
  log=$out/$name.log
  check "$name: exit status 0" is "$(cat "$out/$name.status")" 0
  [[ $platform == *packed=off* ]] && packed=0 || packed=1
  check "$name: rings of the form that was asked for" has "^guest: packed $packed" "$log"
  for end in "connect vsock:1024 stream" "connect vsock:1025 seqpacket" "listen vsock:52 stream" "listen vsock:53 seqpacket"; do
    check "$name: in the guest, $end" has "^guest: vsock ok $end: $bytes bytes each way on $connections connections" "$log"
  done
  for end in "listen unix:.*_1024 stream" "listen unix:.*_1025 seqpacket" "connect relay:.*:52 stream" "connect relay:.*\.seqpacket:53 seqpacket"; do
    check "$name: on the host, $end" has "^ok $end: $bytes bytes each way on $connections connections" "$out/$name.peers"
  done
  check "$name: nothing went wrong on the host" hasnt 'guest-peer:' "$out/$name.peers"
  check "$name: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic|guest: vsock guest-peer' "$log"
  check "$name: nothing on stderr" is "$(cat "$out/$name.err")" ""
  check "$name: no socket is left" is "$(cat "$out/$name.left")" ""
  [ "$failed" = "$before" ] || { show "$log" 40; show "$out/$name.peers"; show "$out/$name.err"; }
done
finish
