#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the Xen testbed with xl's daemons: guests that xl made, with trivet dm serving them. Leaves logs, statuses and disks in OUT.
# usage: xl_dm.sh OUT NONCE CASE...     (OUT/guest holds the guest's files, OUT/payload what one downloads; a case is "TYPE VCPUS END", END as trivet.do takes it)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/network.sh"
out=$1 nonce=$2 guest=$1/guest
shift 2

qemu=$(readlink -f /usr/libexec/xen-qemu-system-i386)

# config TYPE VCPUS END CMDLINE: makes /tmp/linux.cfg; CMDLINE goes to the end of the kernel's.
config() {
  cat >/tmp/linux.cfg <<CONFIG
type = "$1"
name = "linux"
memory = 256
vcpus = $2
# Under emulation Xen cannot decode RDTSCP; the default mode needs it.
tsc_mode = "native"
on_reboot = "restart"
on_crash = "destroy"
CONFIG
  if [ "$1" = hvm ]; then
    cat >>/tmp/linux.cfg <<CONFIG
kernel = "$guest/grub.lnx"
vga = "none"
nographic = 1
vnc = 0
CONFIG
  else
    cat >>/tmp/linux.cfg <<CONFIG
kernel = "$guest/vmlinux"
ramdisk = "$guest/initrd"
cmdline = "console=hvc0 panic=1 quiet trivet.do=$3 trivet.nonce=$nonce-$1-$2$4"
CONFIG
  fi
}
# serve NAME DOMID OPTION...: trivet dm in the background, until it says that it is ready; sets dm.
serve() {
  local name=$1 domid=$2
  shift 2
  "$TRIVET_BIN" dm --domid "$domid" "$@" </dev/null >"/tmp/$name.dm" 2>"/tmp/$name.err" &
  dm=$!
  wait_for '^ready' "/tmp/$name.dm" 60
}
# privileges PID: of the process that serves.
privileges() {
  local worker
  worker=$(cat "/proc/$1/task/$1/children")
  grep -E '^(NoNewPrivs|Seccomp|Cap[A-Z][a-z]*):' "/proc/${worker% }/task"/*/status | sed 's/^.*task.//'
  ls -l "/proc/${worker% }/fd"
}

for case in "$@"; do
  read -r type vcpus end <<<"$case"
  case=$type-$vcpus
  log=/var/log/xen/console/guest-linux.log
  : >$log
  cp "$guest/disk.img" "/tmp/$case.img" && chmod u+w "/tmp/$case.img"
  net=()
  cmdline=''
  if [ "$case" = pvh-4 ]; then
    network_up 1 1500 "$out/payload" "/tmp/$case.sent"
    net=(--net tap=t0)
    cmdline=' trivet.net=1.0'
  fi
  config "$type" "$vcpus" "$end" "$cmdline"
  started=$EPOCHREALTIME
  xl create -p /tmp/linux.cfg >/tmp/xl.log 2>&1 || { cat /tmp/xl.log >&2; exit 1; }
  domid=$(xl domid linux)
  disks=(--block "path=/tmp/$case.img")
  [ "$type" != hvm ] || disks+=(--block "path=$guest/boot.img,read_only=on")
  serve "$case" "$domid" "${disks[@]}" "${net[@]}" --rng --console "output=/tmp/$case.hvc1" || cat "/tmp/$case".{dm,err} >&2
  privileges $dm >"$out/$case.privileges"
  running "$qemu" | sed 's/^/xen-qemu /' >"$out/$case.beside"
  xl unpause linux
  wait_for '^domain [0-9]+ ended$|^none came' "/tmp/$case.dm" 300 || { kill $dm; tail -n 5 $log /tmp/$case.dm /var/log/xen/xl-linux.log; }
  wait $dm
  echo $? >"$out/$case.status"
  [ ${#net[@]} = 0 ] || { network_down "$out/$case.counters"; cp "/tmp/$case.sent" "$out/"; }
  for ((i = 0; i < 50; i++)); do xl domid linux >/dev/null 2>&1 || break; sleep 0.2; done
  echo "$case: dm's exit status $(cat "$out/$case.status") after $(seconds_since "$started") s"
  xl list >"$out/$case.list"
  { running "$TRIVET_BIN"; running "$qemu"; } >"$out/$case.left"
  cp "/tmp/$case".{img,dm,err} "$out/"
  cp $log "$out/$case.log"
done
