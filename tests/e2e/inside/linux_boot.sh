#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux once for each case, "FORM VCPUS PLATFORM ...", and leaves log, status, console and disk in OUT.
# usage: linux_boot.sh OUT NONCE CASE...     (OUT/guest holds the guest's files)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
out=$1 nonce=$2
shift 2
platform_options=() # each case has its own
for case in "$@"; do
  read -r form vcpus platform _ <<<"$case"
  case=$form-$vcpus-${platform//,/+}
  cp "$out/guest/disk.img" "/tmp/$case.img"
  chmod u+w "/tmp/$case.img"
  started=$EPOCHREALTIME
  linux_command "$out/guest/$form" "$out/guest/initrd" "quiet trivet.nonce=$nonce-$case" --vcpu "num=$vcpus" --platform "$platform" \
    --block "path=/tmp/$case.img" --console "output=/tmp/$case.hvc0" --rng
  bounded 100 "${command[@]}" </dev/null >"/tmp/$case.log" 2>"/tmp/$case.err"
  echo $? >"$out/$case.status"
  echo "$case: exit status $(cat "$out/$case.status") after $(seconds_since "$started") s"
  cp "/tmp/$case".{img,log,err} "$out/"
  cp "/tmp/$case.hvc0" "$out/" 2>/dev/null || : >"$out/$case.hvc0"
  rm -f "/tmp/$case".*
done
