#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the guest, sourced by its init: every virtio device is taken from its driver and given back, again and again, the disk while it is read; then, some
# times, from the driver of its transport, and on PCI from the bus. Every device works after that.
#   trivet.rounds=N trivet.transport_rounds=N   how many times
PATH=$PATH:/usr/bin:/usr/sbin
load /modules/net
load /modules/vsock
load /modules/balloon
virtio=/sys/bus/virtio/drivers

# device_of DRIVER: what it has, as virtio3.
device_of() { ls "$virtio/$1" | grep '^virtio[0-9]'; }

# take FOLDER DEVICE, give FOLDER DEVICE: from and to the driver with that folder in sysfs.
take() { echo "$2" >"$1/unbind" && [ ! -e "$1/$2" ] || { say "FAIL $2 is not taken from ${1##*/}"; return 1; }; }
give() { echo "$2" >"$1/bind" && [ -e "$1/$2" ] || { say "FAIL $2 is not given back to ${1##*/}"; return 1; }; }
rebind() { take "$1" "$2" && give "$1" "$2"; }

# rebind_disk DEVICE: while three read it. Each says whether it came to the end. Every other time the disk is back before they have noticed.
rebind_disk() {
  node=$(ls "/sys/bus/virtio/devices/$1/block")
  for reader in 1 2 3; do
    { dd if="/dev/$node" of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null && echo whole || echo cut; } >>/tmp/reads &
  done
  usleep 1000
  take $virtio/virtio_blk "$1" || return 1
  [ $((round % 2)) = 1 ] || wait
  give $virtio/virtio_blk "$1" || return 1
  wait
}

# Every device does something, after which nothing is left in the guest that the next round would meet.
use_all() {
  use_disk
  use_console
  use_rng
  ip addr add 10.1.0.2/24 dev eth0 && ip link set eth0 up && ping -c 3 -w 20 10.1.0.1 >/dev/null && say "net ping ok" || say "FAIL ping"
  timeout 60 wget -q -O /tmp/payload http://10.1.0.1/payload || say "FAIL download"
  say "net payload $(sha256sum </tmp/payload)"
  guest-peer connect vsock:1024 stream 200000 2 2>&1 | sed 's/^/guest: vsock /'
  before=$(sed -n 's/^balloon_deflate //p' /proc/vmstat)
  rebind $virtio/virtio_balloon "$(device_of virtio_balloon)"
  sleep 1
  say "balloon gave back $(($(sed -n 's/^balloon_deflate //p' /proc/vmstat) - before)) pages"
}

# let_count NAME: waits until the host has counted what its process has.
let_count() {
  say "count $1"
  for _ in $(seq 60); do
    timeout 5 wget -q -O /dev/null "http://10.1.0.1/counted-$1" 2>/dev/null && return
    sleep 1
  done
  say "FAIL the host does not count"
}

drivers=$(for name in $(ls $virtio); do [ -z "$(device_of "$name")" ] || echo "$name"; done | tr '\n' ' ')
say "drivers $drivers"
rounds=$(parameter trivet.rounds)
use_all
let_count begin
for round in $(seq "$rounds"); do
  [ $((round % 25)) != 1 ] || say "round $round, up $(cut -d ' ' -f 1 /proc/uptime) s"
  for name in $drivers; do
    device=$(device_of "$name")
    case $name in
      virtio_blk) rebind_disk "$device" ;;
      *) rebind "$virtio/$name" "$device" ;;
    esac || break 2
    # With its rings full.
    [ "$name" != virtio_net ] || ip link set eth0 up || say "FAIL eth0 does not come up"
  done
done
say "rebound $round times, reads cut short $(grep -c cut /tmp/reads)"
use_all
let_count over

for round in $(seq "$(parameter trivet.transport_rounds)"); do
  for transport in /sys/bus/pci/drivers/virtio-pci /sys/bus/platform/drivers/virtio-mmio; do
    [ -d $transport ] || continue
    for device in $(ls $transport | grep ':'); do
      case $(cat $transport/"$device"/virtio*/device) in 0x0001) link=eth0 ;; *) link='' ;; esac
      rebind $transport "$device" || break 3
      [ -z "$link" ] || ip link set $link up
      case $transport in *pci*) ;; *) continue ;; esac
      echo 1 >"/sys/bus/pci/devices/$device/remove"
      [ ! -e $transport/"$device" ] || say "FAIL $device is not removed"
      echo 1 >/sys/bus/pci/rescan
      [ -e $transport/"$device" ] || say "FAIL $device is not found again"
    done
  done
done
say "transports rebound $round times"
use_all
let_count end
