#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the Xen testbed with xl's daemons: boots Linux through xl and, where there is a TRIVET_BIN, through trivet in a PVH domain of the same size, in turn,
# both measured from outside.
# usage: scripts/testbed xen --xl -- tests/e2e/inside/xl_boot.sh GUEST vmlinux|vmlinuz VCPUS [REPETITIONS]   (GUEST is what scripts/guest-image printed)
# Prints, for each run: xl|trivet seconds-until-the-guest-may-run seconds-to-init seconds-to-power-off
set -uo pipefail
guest=$1 kernel=$2 vcpus=$3 repetitions=${4:-1}
megabytes=256 options="panic=1 quiet"

cat >/tmp/linux.cfg <<CONFIG
type = "pvh"
name = "linux"
kernel = "$guest/$kernel"
ramdisk = "$guest/initrd"
cmdline = "console=hvc0 $options"
memory = $megabytes
vcpus = $vcpus
# Under emulation Xen cannot decode RDTSCP; the default mode needs it.
tsc_mode = "native"
on_reboot = "destroy"
on_crash = "destroy"
CONFIG

fail() {
  echo "xl_boot: $*" >&2
  tail -n 30 "$log" /tmp/xl.log /tmp/trivet.err /var/log/xen/xl-linux.log >&2
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
# report NAME STARTED MAY-RUN INIT
report() {
  awk -v name="$1" -v a="$2" -v may="$3" -v b="$4" -v c="$EPOCHREALTIME" 'BEGIN { printf "%s %.2f %.2f %.2f\n", name, may, b - a, c - a }'
  grep -qx "guest: cpus $vcpus.\{0,1\}" "$log" || fail "$1: not $vcpus vCPUs"
}

boot_xl() {
  local started init built
  log=/var/log/xen/console/guest-linux.log
  # How long it takes to build one, apart: letting a paused one go would be a second program's start.
  started=$EPOCHREALTIME
  xl create -p /tmp/linux.cfg >/tmp/xl.log 2>&1 || fail "xl create -p failed"
  built=$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
  xl destroy linux || fail "xl destroy failed"
  : >"$log"
  started=$EPOCHREALTIME
  xl create /tmp/linux.cfg >/tmp/xl.log 2>&1 || fail "xl create failed"
  wait_for_line TRIVET-INIT
  init=$EPOCHREALTIME
  wait_for_line TRIVET-DONE
  until ! xl domid linux >/dev/null 2>&1; do read -r -t 0.2 -u 7; done
  report xl "$started" "$built" "$init"
}

boot_trivet() {
  local started init first
  log=/tmp/trivet.log
  : >"$log"
  started=$EPOCHREALTIME
  "$TRIVET_BIN" run --hypervisor xen --platform irqchip=split --memory size_mib=$megabytes --vcpu "num=$vcpus" --stats \
    --kernel "path=$guest/$kernel,initrd=$guest/initrd,cmdline=\"console=ttyS0 $options\"" --serial "input=off,output=$log" </dev/null 2>/tmp/trivet.err &
  wait_for_line TRIVET-INIT
  init=$EPOCHREALTIME
  wait_for_line TRIVET-DONE
  wait $! || fail "trivet run failed"
  first=$(sed -n 's/.*first_run_us=\([0-9]*\).*/\1/p' /tmp/trivet.err)
  report trivet "$started" "$(awk -v us="$first" 'BEGIN { print us / 1e6 }')" "$init"
}

for ((i = 0; i < repetitions; i++)); do
  boot_xl
  [ -z "${TRIVET_BIN:-}" ] || boot_trivet
done
