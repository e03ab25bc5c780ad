#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux without ACPI on local APICs only, and leaves log and status in OUT.
# usage: legacy_pc.sh OUT     (OUT/guest holds the guest's files)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
out=$1
started=$EPOCHREALTIME
linux_command "$out/guest/vmlinux" "$out/guest/initrd" "quiet acpi=off trivet.do=reboot"
timeout 120 "${command[@]}" </dev/null >/tmp/legacy.log 2>/tmp/legacy.err
echo $? >"$out/legacy.status"
echo "exit status $(cat "$out/legacy.status") after $(seconds_since "$started") s"
cp /tmp/legacy.{log,err} "$out/"
