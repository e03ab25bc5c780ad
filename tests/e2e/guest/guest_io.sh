#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the guest, sourced by its init, the same under each VMM: how many random reads of 4 KiB its disk does in a second at a depth of 1 and of 32, and how much
# TCP its network carries each way. Says "io NAME VALUE".
#   trivet.seconds=N   for each   trivet.address=ADDRESS   an iperf3 is at 10.ADDRESS.1
PATH=$PATH:/usr/bin:/usr/sbin
load /modules/net
seconds=$(parameter trivet.seconds) network=$(parameter trivet.address)
ip link set lo up
ip addr add "10.$network.2/24" dev eth0 && ip link set eth0 up || say "FAIL eth0"
for depth in 1 32; do
  result=$(fio --name=read --filename=/dev/vda --rw=randread --bs=4k --direct=1 --ioengine=libaio --iodepth=$depth --thread --time_based --ramp_time=1 \
    --runtime="$seconds" --randrepeat=1 --norandommap --minimal 2>&1)
  # Version 3 of fio's short form: the fifth field is the error, the eighth reads in a second.
  case $result in
    "3;"*) [ "$(echo "$result" | cut -d ';' -f 5)" = 0 ] && say "io depth-$depth $(echo "$result" | cut -d ';' -f 8)" || say "FAIL fio: $result" ;;
    *) say "FAIL fio: $result" ;;
  esac
done
# iperf NAME OPTION...: megabits a second at the receiver.
iperf() {
  name=$1
  shift
  iperf3 -c "10.$network.1" -t "$seconds" -O 1 -f m "$@" >/tmp/iperf 2>&1 || { say "FAIL iperf3"; cat /tmp/iperf; }
  say "io $name $(sed -nE 's/^\[.* ([0-9.]+) Mbits\/sec.* receiver.*/\1/p' /tmp/iperf)"
}
iperf guest-to-host
iperf host-to-guest -R
