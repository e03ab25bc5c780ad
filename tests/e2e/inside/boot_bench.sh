#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# One VMM's start of Linux, measured from outside, the same way for each: boot (to /init, then power off) or entry (to the first KVM_RUN only).
# usage: boot_bench.sh OUT boot|entry REPETITIONS     (OUT/guest holds the guest's files, OUT/run_clock.so the watcher)
# Prints, for each run: VMM seconds-to-init KVM_RUN-calls microseconds-to-first-KVM_RUN KiB-resident-without-guest-memory
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
out=$1 mode=$2 repetitions=$3
work=$(mktemp -d /tmp/trivet-bench.XXXXXX)
trap 'rm -rf "$work"' EXIT
E2E_MEMORY=256

# Neither machine has PCI or a second serial port; the console is quiet. QEMU leaves MSR 0x10a (ARCH_CAPABILITIES) alone: a KVM may list it and refuse
# its value, which ends QEMU.
boot_options="quiet loglevel=1 pci=off 8250.nr_uarts=1 trivet.do=now"
vmm_command() {
  case $1 in
    trivet)
      linux_command "$out/guest/vmlinux" "$out/guest/initrd" "$boot_options" --vcpu num=1 ;;
    qemu-microvm)
      command=(qemu-system-x86_64 -M microvm,acpi=on,pit=off,pic=off,rtc=off -accel kvm -cpu host,arch-capabilities=off -smp 1 -m 256 -nodefaults
        -no-user-config -display none -no-reboot -serial stdio -kernel "$out/guest/vmlinux" -initrd "$out/guest/initrd"
        -append "console=ttyS0 panic=1 $boot_options") ;;
  esac
}

# The clock starts before the exec: loading the program counts.
launch() {
  LD_PRELOAD=$out/run_clock.so RUN_CLOCK_FILE=$work/clock exec bash -c \
    'unset LD_PRELOAD; export RUN_CLOCK_START=$EPOCHREALTIME; LD_PRELOAD=$0 exec "$@"' "$out/run_clock.so" "${command[@]}"
}

for ((i = 0; i < repetitions; i++)); do
  for vmm in trivet qemu-microvm; do
    vmm_command $vmm
    rm -f "$work"/*
    mkfifo "$work/serial"
    seconds=- rss=-
    started=$EPOCHREALTIME
    (launch) </dev/null >"$work/serial" 2>"$work/err" &
    pid=$!
    exec 5<"$work/serial"
    if [ "$mode" = boot ]; then
      while read -r -t 60 line <&5; do
        [[ $line == *TRIVET-INIT* ]] || continue
        ended=$EPOCHREALTIME
        kill -STOP $pid && rss=$(rss_without_guest $pid)
        kill -CONT $pid
        seconds=$(awk -v a="$started" -v b="$ended" 'BEGIN { printf "%.3f", b - a }')
        break
      done
    else
      sleep 0.7
      kill -TERM $pid
    fi
    cat <&5 >/dev/null
    wait $pid
    exec 5<&-
    clock=$(cat "$work/clock" 2>/dev/null)
    first=$(sed -n 's/.*first_run_us=\([0-9]*\).*/\1/p' <<<"$clock")
    runs=$(sed -n 's/.* runs=\([0-9]*\).*/\1/p' <<<"$clock")
    echo "$vmm $seconds ${runs:--} ${first:--} $rss"
    [ -n "$clock" ] || { echo "$vmm: no figures; its stderr:" >&2; tail -n 5 "$work/err" >&2; exit 1; }
  done
done
