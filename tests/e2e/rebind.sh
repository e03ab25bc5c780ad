#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux takes each of our devices from its driver and gives it back 100 times, the disk while it is read, over MMIO and over PCI; then from the transport's
# driver and from the bus. After that all of them work, and the process has what it had before.
# usage: rebind.sh [CASE...]
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest --tools
E2E_TIMEOUT=${E2E_TIMEOUT:-3400}
rounds=100 transport_rounds=10
head -c 300000 /dev/urandom >"$out/payload"
checksum=$(sha256sum <"$out/payload")
# name, --platform
cases=(
  "mmio virtio=mmio"
  "pci virtio=pci"
)
only "$@"
in_testbed "$out" rebind.sh $rounds $transport_rounds "${cases[@]}" || { echo "the testbed failed"; exit 1; }

# said COUNT PATTERN FILE: so many lines have it.
said() { [ "$(grep -cE -- "$2" "$3")" = "$1" ]; }
# grew COLUMN FROM TO: how much more of it there is.
grew() { echo $(($(cut -d ' ' -f "$1" "$3") - $(cut -d ' ' -f "$1" "$2"))); }
at_most() { [ "$1" -le "$2" ]; }
# counted FILE: all three, of a process that is there.
counted() { [[ $(cat "$1") =~ ^[1-9][0-9]*\ [1-9][0-9]*\ [1-9][0-9]*$ ]]; }
for case in "${cases[@]}"; do
  read -r name _ <<<"$case"
  before=$failed
  log=$out/$name.log
  check "$name: exit status 0" is "$(cat "$out/$name.status")" 0
  check "$name: all six drivers" has '^guest: drivers virtio_balloon virtio_blk virtio_console virtio_net virtio_rng vmw_vsock_virtio_transport' "$log"
  check "$name: rebound $rounds times" has "^guest: rebound $rounds times" "$log"
  check "$name: the disk was being read" has 'reads cut short [1-9]' "$log"
  check "$name: the transports' drivers, $transport_rounds times" has "^guest: transports rebound $transport_rounds times" "$log"
  # Before, between and after.
  check "$name: the disk's checksums each time" said 3 '^guest: disk checksums ok' "$log"
  check "$name: and writes" said 3 '^guest: disk written' "$log"
  check "$name: the network each time" said 3 '^guest: net ping ok' "$log"
  check "$name: and its checksums" said 3 "^guest: net payload ${checksum%% *}" "$log"
  check "$name: sockets each time" said 3 '^guest: vsock ok connect vsock:1024 stream: 200000 bytes each way on 2 connections' "$log"
  check "$name: ... as the host's end says" said 3 '^ok listen' "$out/$name.peers"
  check "$name: random bytes each time" said 3 '^guest: rng 32 bytes from virtio_rng' "$log"
  check "$name: the balloon each time" said 3 '^guest: balloon gave back 1024 pages' "$log"
  check "$name: the console each time" said 3 'hello from hvc0' "$out/$name.hvc0"
  for when in begin over end; do check "$name: the host counted at $when" counted "$out/$name.$when"; done
  check "$name: no descriptor more after $rounds times" at_most "$(grew 1 "$out/$name.begin" "$out/$name.over")" 0
  check "$name: nor after the transports" at_most "$(grew 1 "$out/$name.begin" "$out/$name.end")" 0
  check "$name: no thread more" at_most "$(grew 3 "$out/$name.begin" "$out/$name.end")" 0
  check "$name: at most 256 KiB more memory after $rounds times" at_most "$(grew 2 "$out/$name.begin" "$out/$name.over")" 256
  check "$name: nor after the transports" at_most "$(grew 2 "$out/$name.begin" "$out/$name.end")" 256
  check "$name: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic' "$log"
  check "$name: nothing on stderr" is "$(cat "$out/$name.err")" ""
  check "$name: the file system is clean" clean_filesystem "$out/$name.img"
  echo "     $name: descriptors, KiB without guest memory, threads: $(cat "$out/$name.begin"), then $(cat "$out/$name.over"), then $(cat "$out/$name.end");" \
    "$(sed -n 's/^guest: rebound .*, //p' "$log")"
  [ "$failed" = "$before" ] || { show "$log" 60; show "$out/$name.err"; show "$out/$name.peers"; }
done
finish
