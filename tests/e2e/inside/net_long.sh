#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux once for each case, "NAME VCPUS PLATFORM NET MTU STREAMS RESIZES TAP-OPTIONS", with a network device on a tap and iperf3 behind it; leaves
# in OUT the log, the status, what the guest sent, the tap's counters, and how the host's TCP counts meanwhile.
# usage: net_long.sh OUT SECONDS CASE...     (OUT/guest holds the guest's files, OUT/payload what it downloads)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/network.sh"
out=$1 seconds=$2
shift 2
platform_options=() # each case has its own
number=0
# tcp_counts: NAME VALUE, of this host.
tcp_counts() {
  awk '/^Tcp(Ext)?:/ {
    for (i = 2; i <= NF; i++)
      if (seen[$1]) print name[i], $i
      else name[i] = $i
    seen[$1] = 1
  }' /proc/net/snmp /proc/net/netstat
}
for case in "$@"; do
  read -r name vcpus platform net mtu streams resizes tap_options <<<"$case"
  number=$((number + 1))
  # shellcheck disable=SC2086 # several options, or none
  network_up $number "$mtu" "$out/payload" "/tmp/$name.sent" $tap_options
  iperf3 -s -B "10.$number.0.1" >"/tmp/$name.iperf" 2>&1 &
  server=$!
  started=$EPOCHREALTIME
  # Nothing but what the guest asks for: no announcements of a second protocol, which the device keeps from a guest that has not asked for them.
  echo 1 >/proc/sys/net/ipv6/conf/t0/disable_ipv6
  tcp_counts >/tmp/tcp.before
  linux_command "$out/guest/vmlinux" "$out/guest/initrd-tools" \
    "quiet trivet.script=net_long trivet.address=$number.0 trivet.seconds=$seconds trivet.streams=$streams trivet.resizes=$resizes" \
    --vcpu "num=$vcpus" --platform "$platform" --net "tap=t0,mac=52:54:00:12:34:56$net"
  bounded 300 "${command[@]}" </dev/null >"/tmp/$name.log" 2>"/tmp/$name.err"
  echo $? >"$out/$name.status"
  echo "$name: exit status $(cat "$out/$name.status") after $(seconds_since "$started") s"
  kill $server
  wait $server 2>/dev/null
  network_down "$out/$name.counters"
  tcp_counts | awk 'NR == FNR { before[$1] = $2; next } { print $1, $2 - before[$1] }' /tmp/tcp.before - >>"$out/$name.counters"
  cp "/tmp/$name".{log,err,sent,iperf} "$out/"
done
