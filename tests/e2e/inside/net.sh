#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux once for each case, "NAME FORM VCPUS PLATFORM NET MTU TAP-OPTIONS", with a network device on a tap; leaves in OUT the log,
# the status, what the guest sent, and the tap's counters.
# usage: net.sh OUT CASE...     (OUT/guest holds the guest's files, OUT/payload what it downloads)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/network.sh"
out=$1
shift
number=0
for case in "$@"; do
  read -r name form vcpus platform net mtu tap_options <<<"$case"
  number=$((number + 1))
  # shellcheck disable=SC2086 # several options, or none
  network_up $number "$mtu" "$out/payload" "/tmp/$name.sent" $tap_options
  started=$EPOCHREALTIME
  linux_command "$out/guest/$form" "$out/guest/initrd" "quiet trivet.net=$number.0" --vcpu "num=$vcpus" --platform "$platform" --net "tap=t0$net"
  bounded 300 "${command[@]}" </dev/null >"/tmp/$name.log" 2>"/tmp/$name.err"
  echo $? >"$out/$name.status"
  echo "$name: exit status $(cat "$out/$name.status") after $(seconds_since "$started") s"
  network_down "$out/$name.counters"
  cp "/tmp/$name".{log,err,sent} "$out/"
done
