#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: every way a run can end. Guest: power off, reset, panic, triple fault. Host: SIGTERM, SIGINT, SIGQUIT, SIGHUP, with a terminal restored.
# usage: endings.sh OUT     (OUT/guest holds the guest's files)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
guest=$1/guest
lib=$e2e_root/tests/e2e/lib.sh

# guest_ends CMDLINE: runs until the guest ends it; $status, /tmp/log, /tmp/err.
guest_ends() {
  linux_command "$guest/vmlinux" "$guest/initrd" "$1" --vcpu num=2
  bounded 90 "${command[@]}" </dev/null >/tmp/log 2>/tmp/err
  status=$?
}

guest_ends "quiet trivet.do=reboot"
check "reset: the guest asked for it" has '^TRIVET-DONE reboot' /tmp/log
check "reset: exit status 0" is $status 0
guest_ends "quiet trivet.do=panic"
check "panic: the guest said so" has 'Kernel panic' /tmp/log
check "panic: its reboot ends the run with 0" is $status 0
guest_ends "quiet reboot=t trivet.do=reboot"
check "triple fault: the guest asked for it" has '^TRIVET-DONE reboot' /tmp/log
check "triple fault: exit status 3" is $status 3
check "triple fault: one line says so" has '[Tt]riple fault' /tmp/err

# The built-in guest finds a device that does not answer: it says so, and the run fails.
mkfifo /tmp/silent
exec 9<>/tmp/silent
timeout 120 "$TRIVET_BIN" run --hypervisor kvm "${platform_options[@]}" --rng source=/tmp/silent </dev/null >/tmp/log 2>/tmp/err
status=$?
exec 9>&-
check "a failing tour: the guest said so" has '^guest: FAILED' /tmp/log
check "a failing tour: exit status 4" is $status 4
check "a failing tour: one line says so" has 'reported a crash' /tmp/err

# In a pseudo-terminal: prints before, during and after as stty sees it, and the status.
cat >/tmp/signalled <<SIGNALLED
. "$lib"
stty -a >/tmp/tty.before
linux_command "$guest/vmlinux" "$guest/initrd" "quiet trivet.do=idle" --vcpu num=1 --block path=/tmp/signal.img
"\${command[@]}" </dev/tty >/dev/tty 2>/tmp/err &
wait_for '^TRIVET-DONE idle' /tmp/log 60 || { echo "never idle, after \$SECONDS s" && threads \$!; } >/tmp/tty.during
stty -a >>/tmp/tty.during
started=\$SECONDS
kill -\$1 \$!
wait \$!
echo \$? >/tmp/status
echo \$((SECONDS - started)) >/tmp/took
stty -a >/tmp/tty.after
SIGNALLED

for signal in TERM INT QUIT HUP; do
  cp "$guest/disk.img" /tmp/signal.img
  rm -f /tmp/tty.* /tmp/status /tmp/took
  : >/tmp/log
  # -f flushes each write, so that the guest's marker is seen in the log while it runs.
  timeout 100 script -qfec "bash /tmp/signalled $signal" /tmp/log </dev/null >/dev/null 2>&1
  number=$(kill -l $signal)
  check "SIG$signal: the guest was running" hasnt 'never idle' /tmp/tty.during || { show /tmp/tty.during; show /tmp/log; }
  check "SIG$signal: the terminal was raw while it ran" has '(^| )-icanon' /tmp/tty.during
  check "SIG$signal: the terminal is as it was" cmp /tmp/tty.before /tmp/tty.after
  check "SIG$signal: exit status 128+$number" is "$(cat /tmp/status 2>/dev/null)" $((128 + number))
  check "SIG$signal: stops within 5 s" [ "$(cat /tmp/took 2>/dev/null || echo 99)" -le 5 ]
  check "SIG$signal: no process is left" is "$(running "$TRIVET_BIN")" ""
  check "SIG$signal: the disk is whole" clean_filesystem /tmp/signal.img
done
finish
