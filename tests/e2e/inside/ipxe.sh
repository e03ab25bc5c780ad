#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: DHCP and HTTP on a tap, and a machine that starts iPXE from OUT/guest/bios.img; leaves in OUT what it said, what the server logged and what
# Linux sent.
# usage: ipxe.sh OUT     (OUT/guest holds the guest's files, OUT/payload what is fetched)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/bios.sh"
. "$(dirname "$0")/network.sh"
out=$1
cp "$out/guest/bios.img" /tmp/bios.img
network_log=/tmp/server.log
network_up 1 1500 "$out/payload" "$out/sent"
cp "$out/guest/vmlinuz" "$out/guest/initrd" "$network_folder/www/"
: >/tmp/leases
printf '%s\n' 'start 10.1.0.77' 'end 10.1.0.77' 'interface t0' 'lease_file /tmp/leases' 'option subnet 255.255.255.0' >/tmp/udhcpd.conf
busybox udhcpd -f /tmp/udhcpd.conf >/tmp/udhcpd.log 2>&1 &
network_servers+=($!)
run_firmware ipxe /usr/share/seabios/bios-256k.bin 400 --block path=/tmp/bios.img --net "tap=t0,mac=52:54:00:12:34:56" </dev/null
network_down "$out/counters"
cp /tmp/server.log /tmp/udhcpd.log "$out/"
