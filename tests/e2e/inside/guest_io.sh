#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots the same Linux under one VMM after the other, again and again, with the same disk (a RAM disk, past the host's page cache) and the same
# tap; prints "VMM NAME VALUE" for what the guest measures.
# usage: guest_io.sh OUT SECONDS REPETITIONS VMM...     (OUT/guest holds the guest's files, OUT/modules brd; VMM: trivet or qemu; trivet-mmio and
# trivet-pci, with =PROGRAM for another build of it; qemu with any of -uring, -threads (its aio=), -main (no thread for the disk), -packed (rings), -pci, -vhost)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/network.sh"
. "$(dirname "$0")/modules.sh"
out=$1 seconds=$2 repetitions=$3
shift 3
load_modules "$out/modules" brd rd_nr=1 rd_size=65536 || exit 1
# What was never written costs brd nothing to read.
dd if=/dev/urandom of=/dev/ram0 bs=1M 2>/dev/null
: >/tmp/payload
lines="quiet loglevel=1 8250.nr_uarts=1 trivet.script=guest_io trivet.seconds=$seconds trivet.address=1.0"
mac=52:54:00:12:34:56

vmm_command() {
  local TRIVET_BIN=$TRIVET_BIN
  case $1 in
    trivet | trivet-*)
      local transport=${1#trivet}
      transport=${transport#-}
      [[ $1 != *=* ]] || TRIVET_BIN=${1#*=}
      transport=${transport%%=*}
      linux_command "$out/guest/vmlinux" "$out/guest/initrd-tools" "$lines" --vcpu num=1 --platform "virtio=${transport:-auto}" \
        --block path=/dev/ram0,direct=on --net "tap=t0,mac=$mac" ;;
    qemu | qemu-*)
      # The block device's queue on a thread of its own, as QEMU's manual advises, and aio=native: guest_io_bench.sh says why.
      local machine=microvm aio=native block=virtio-blk-device,drive=disk net=virtio-net-device,netdev=net,mac=$mac vhost=off
      [[ $1 != *-uring* ]] || aio=io_uring
      [[ $1 != *-threads* ]] || aio=threads
      [[ $1 != *-vhost* ]] || vhost=on
      [[ $1 != *-pci* ]] || machine+=,pcie=on block=${block/-device/-pci} net=${net/-device/-pci}
      [[ $1 != *-packed* ]] || block+=,packed=on net+=,packed=on
      [[ $1 == *-main* ]] || block+=,iothread=thread
      command=(qemu-system-x86_64 -M "$machine,acpi=on,pit=off,pic=off,rtc=off" -accel kvm -cpu host,arch-capabilities=off -smp 1 -m "$E2E_MEMORY" -nodefaults -no-user-config
        -global virtio-mmio.force-legacy=false -display none -no-reboot -serial stdio -kernel "$out/guest/vmlinux" -initrd "$out/guest/initrd-tools"
        -append "console=ttyS0 panic=1 $lines" -object iothread,id=thread
        -blockdev "driver=host_device,filename=/dev/ram0,node-name=disk,cache.direct=on,aio=$aio" -device "$block"
        -netdev "tap,id=net,ifname=t0,script=no,downscript=no,vhost=$vhost" -device "$net") ;;
    *) echo "no VMM $1" >&2; exit 2 ;;
  esac
}

for ((i = 0; i < repetitions; i++)); do
  for vmm in "$@"; do
    vmm_command "$vmm"
    network_up 1 1500 /tmp/payload /dev/null
    iperf3 -s -B 10.1.0.1 >/tmp/iperf 2>&1 &
    server=$!
    bounded 240 "${command[@]}" </dev/null >/tmp/log 2>/tmp/err
    status=$?
    kill $server
    wait $server 2>/dev/null
    network_down /tmp/counters
    if [ $status != 0 ] || grep -q 'guest: FAIL' /tmp/log || ! grep -q '^TRIVET-DONE' /tmp/log; then
      echo "$vmm: exit status $status; the end of its log and of its stderr:" >&2
      tail -n 20 /tmp/log /tmp/err >&2
      exit 1
    fi
    sed -n "s|^guest: io \([a-z0-9-]* [0-9.]*\).*|$vmm \1|p" /tmp/log
  done
done
