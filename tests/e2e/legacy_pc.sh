#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux without ACPI finds no local APIC and lives on PICs and PIT alone: ours, where the hypervisor has local APICs only. They bring its timer and its
# serial port; it gets to userspace by them, and resets the machine through the keyboard controller.
set -uo pipefail
E2E_PLATFORM=${E2E_PLATFORM:-irqchip=split}
. "$(dirname "$0")/lib.sh"
need_guest
in_testbed "$out" legacy_pc.sh || { echo "the testbed failed"; exit 1; }
log=$out/legacy.log
check "exit status 0" is "$(cat "$out/legacy.status")" 0
check "reaches /init" has '^TRIVET-INIT' "$log"
check "ticks by the PIC" has '^guest: line 0 +[0-9]{3,} +XT-PIC +timer' "$log"
check "serial port by the PIC" has '^guest: line 4 +[1-9][0-9]* +XT-PIC +ttyS0' "$log"
check "nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic' "$log"
check "nothing on stderr" is "$(cat "$out/legacy.err")" ""
[ "$failed" = 0 ] || { show "$log"; show "$out/legacy.err"; }
finish
