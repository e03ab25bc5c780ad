#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the guest, sourced by its init: TCP both ways with segmentation left to the device and without, and while the rings change their sizes.
#   trivet.address=ADDRESS   eth0 is 10.ADDRESS.2/24, an iperf3 and what network_up starts are at 10.ADDRESS.1
#   trivet.seconds=N         how long each direction    trivet.streams=N   connections at once    trivet.resizes=N   how many times (0: not at all)
PATH=$PATH:/usr/bin:/usr/sbin
load /modules/net
network=$(parameter trivet.address) seconds=$(parameter trivet.seconds) streams=$(parameter trivet.streams) resizes=$(parameter trivet.resizes)
host=10.$network.1
counter() { cat "/sys/class/net/eth0/statistics/$1"; }

# run_iperf NAME OPTION...: says its sums, and the mean of the packets that the driver handed over and got meanwhile.
run_iperf() {
  name=$1
  shift
  before="$(counter tx_bytes) $(counter tx_packets) $(counter rx_bytes) $(counter rx_packets)"
  if timeout $((seconds * 3 + 30)) iperf3 -c "$host" -t "$seconds" -P "$streams" -f m "$@" >"/tmp/iperf.$name" 2>&1; then
    say "iperf $name ok"
  else
    say "FAIL iperf $name"
    cat "/tmp/iperf.$name"
  fi
  [ "$streams" = 1 ] || grep -E '^\[SUM\].*(sender|receiver)' "/tmp/iperf.$name" | sed "s/^/guest: iperf $name /"
  [ "$streams" != 1 ] || grep -E '^\[.*(sender|receiver)' "/tmp/iperf.$name" | sed "s/^/guest: iperf $name /"
  echo "$before $(counter tx_bytes) $(counter tx_packets) $(counter rx_bytes) $(counter rx_packets)" |
    awk -v name="$name" '{ printf "guest: mean %s sent %d received %d\n", name, ($5 - $1) / ($6 - $2), ($7 - $3) / ($8 - $4) }'
}

say "net eth0/mtu $(cat /sys/class/net/eth0/mtu)"
[ "$streams" = 1 ] || ethtool -L eth0 combined "$streams" || say "FAIL ethtool -L"
say "net queues $(ls /sys/class/net/eth0/queues | tr '\n' ' ')"
ip link set lo up
ip addr add "10.$network.2/24" dev eth0 && ip link set eth0 up || say "FAIL eth0 does not come up"
ping -c 3 -w 20 "$host" >/dev/null && say "net ping ok" || say "FAIL ping"

for tso in on off; do
  ethtool -K eth0 tso $tso gso $tso || say "FAIL ethtool -K"
  say "net $(ethtool -k eth0 | sed -n 's/^tcp-segmentation-offload: /tso /p')"
  run_iperf up-$tso
  run_iperf down-$tso -R
done
ethtool -K eth0 tso on gso on

# Each change stops a queue, resets it and starts it with another size: 2.6.1. There is traffic until the last one is done.
if [ "$resizes" != 0 ]; then
  (until [ -e /tmp/resized ]; do run_iperf resized --bidir; done) &
  traffic=$!
  sleep 2
  resized=0
  while [ $resized -lt "$resizes" ]; do
    size=$((64 << resized % 3))
    ethtool -G eth0 rx $size tx $size || { say "FAIL ethtool -G $size"; break; }
    [ "$(ethtool -g eth0 | sed '1,/^Current/d' | grep -cE "^(RX|TX):[[:space:]]*$size\$")" = 2 ] || say "FAIL the rings have not $size entries"
    resized=$((resized + 1))
    usleep 150000
  done
  : >/tmp/resized
  wait $traffic
  say "resized $resized times under traffic"
fi
run_iperf after
timeout 60 wget -q -O /tmp/payload "http://$host/payload" || say "FAIL download"
say "net payload $(sha256sum </tmp/payload)"
timeout 60 nc "$host" 9000 </tmp/payload >/dev/null && say "net sent" || say "FAIL upload"
say "retransmitted $(awk '/^Tcp:/ { n++; if (n == 1) { for (i = 1; i <= NF; i++) if ($i == "RetransSegs") c = i } else print $c }' /proc/net/snmp)"
sleep 2 # the last frames of that connection
say "driver received $(counter rx_packets)"
