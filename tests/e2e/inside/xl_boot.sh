#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the Xen testbed with xl's daemons: boots Linux through xl in a PVH domain, measured from outside: the figures that Trivet's own are held against.
# usage: scripts/testbed xen --xl -- tests/e2e/inside/xl_boot.sh GUEST vmlinux|vmlinuz VCPUS [REPETITIONS]   (GUEST is what scripts/guest-image printed)
# Prints, for each run: xl seconds-to-init seconds-to-power-off
set -uo pipefail
guest=$1 kernel=$2 vcpus=$3 repetitions=${4:-1}
log=/var/log/xen/console/guest-linux.log

cat >/tmp/linux.cfg <<CONFIG
type = "pvh"
name = "linux"
kernel = "$guest/$kernel"
ramdisk = "$guest/initrd"
cmdline = "console=hvc0 panic=1 quiet"
memory = 256
vcpus = $vcpus
# Under emulation Xen cannot decode RDTSCP; the default mode needs it.
tsc_mode = "native"
on_reboot = "destroy"
on_crash = "destroy"
CONFIG

fail() {
  echo "xl_boot: $*" >&2
  tail -n 30 "$log" /tmp/xl.log /var/log/xen/xl-linux.log >&2
  xl destroy linux 2>/dev/null
  exit 1
}
# Waiting starts no process: the one CPU is the guest's.
mkfifo /tmp/nothing
exec 7<>/tmp/nothing
wait_for_line() {
  local lines deadline=$((SECONDS + 120))
  until mapfile -t lines <"$log" && [[ "${lines[*]}" == *"$1"* ]]; do
    [ $SECONDS -lt $deadline ] || fail "no '$1' within 120 s"
    read -r -t 0.05 -u 7
  done
}
for ((i = 0; i < repetitions; i++)); do
  : >"$log"
  started=$EPOCHREALTIME
  xl create /tmp/linux.cfg >/tmp/xl.log 2>&1 || fail "xl create failed"
  wait_for_line TRIVET-INIT
  init=$EPOCHREALTIME
  wait_for_line TRIVET-DONE
  until ! xl domid linux >/dev/null 2>&1; do read -r -t 0.2 -u 7; done
  awk -v a="$started" -v b="$init" -v c="$EPOCHREALTIME" 'BEGIN { printf "xl %.2f %.2f\n", b - a, c - a }'
  grep -qx "guest: cpus $vcpus.\{0,1\}" "$log" || fail "not $vcpus vCPUs"
done
