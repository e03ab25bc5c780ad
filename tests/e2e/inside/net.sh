#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux once for each case, "NAME FORM VCPUS PLATFORM NET MTU TAP-OPTIONS", with a network device on a tap; leaves in OUT the log,
# the status, what the guest sent, and the tap's counters: bytes and packets, received and sent, as the host counts.
# usage: net.sh OUT CASE...     (OUT/guest holds the guest's files, OUT/payload what it downloads)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
export PATH=$PATH:/usr/sbin:/sbin
out=$1
shift
www=$(mktemp -d /tmp/www.XXXXXX)
cp "$out/payload" "$www/payload"
mkfifo "$www/silence"
number=0
for case in "$@"; do
  read -r name form vcpus platform net mtu tap_options <<<"$case"
  number=$((number + 1))
  # shellcheck disable=SC2086 # several options, or none
  ip tuntap add dev t0 mode tap vnet_hdr $tap_options
  ip link set dev t0 mtu "$mtu"
  ip addr add "10.$number.0.1/24" dev t0
  ip link set dev t0 up
  busybox httpd -f -p "10.$number.0.1:80" -h "$www" &
  server=$!
  # It ends with its peer, not with its own input.
  busybox nc -l -p 9000 <>"$www/silence" >"/tmp/$name.sent" &
  receiver=$!
  started=$EPOCHREALTIME
  linux_command "$out/guest/$form" "$out/guest/initrd" "quiet trivet.net=$number.0" --vcpu "num=$vcpus" --platform "$platform" --net "tap=t0$net"
  bounded 150 "${command[@]}" </dev/null >"/tmp/$name.log" 2>"/tmp/$name.err"
  echo $? >"$out/$name.status"
  echo "$name: exit status $(cat "$out/$name.status") after $(seconds_since "$started") s"
  for counter in rx_bytes rx_packets tx_bytes tx_packets; do
    echo "$counter $(cat "/sys/class/net/t0/statistics/$counter")"
  done >"$out/$name.counters"
  kill "$server" "$receiver" 2>/dev/null
  wait "$server" "$receiver" 2>/dev/null
  cp "/tmp/$name".{log,err,sent} "$out/"
  ip link del dev t0
done
