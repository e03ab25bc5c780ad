#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux once for each case, "NAME VCPUS PLATFORM NET MTU STREAMS RESIZES TAP-OPTIONS", with a network device on a tap and iperf3 behind it; leaves
# in OUT the log, the status, what the guest sent, and the tap's counters.
# usage: net_long.sh OUT SECONDS CASE...     (OUT/guest holds the guest's files, OUT/payload what it downloads)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/network.sh"
out=$1 seconds=$2
shift 2
platform_options=() # each case has its own
number=0
for case in "$@"; do
  read -r name vcpus platform net mtu streams resizes tap_options <<<"$case"
  number=$((number + 1))
  # shellcheck disable=SC2086 # several options, or none
  network_up $number "$mtu" "$out/payload" "/tmp/$name.sent" $tap_options
  iperf3 -s -B "10.$number.0.1" >"/tmp/$name.iperf" 2>&1 &
  server=$!
  started=$EPOCHREALTIME
  linux_command "$out/guest/vmlinux" "$out/guest/initrd-tools" \
    "quiet trivet.script=net_long trivet.address=$number.0 trivet.seconds=$seconds trivet.streams=$streams trivet.resizes=$resizes" \
    --vcpu "num=$vcpus" --platform "$platform" --net "tap=t0,mac=52:54:00:12:34:56$net"
  bounded 300 "${command[@]}" </dev/null >"/tmp/$name.log" 2>"/tmp/$name.err"
  echo $? >"$out/$name.status"
  echo "$name: exit status $(cat "$out/$name.status") after $(seconds_since "$started") s"
  kill $server
  wait $server 2>/dev/null
  network_down "$out/$name.counters"
  cp "/tmp/$name".{log,err,sent,iperf} "$out/"
done
