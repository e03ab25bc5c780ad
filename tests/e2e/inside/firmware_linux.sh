#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: starts SeaBIOS with the disk OUT/guest/bios.img once for each case, "NAME VCPUS PLATFORM", and leaves the disk in OUT.
# usage: firmware_linux.sh OUT CASE...
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/bios.sh"
out=$1
shift
for case in "$@"; do
  read -r name vcpus platform <<<"$case"
  cp "$out/guest/bios.img" "/tmp/$name.img"
  run_firmware "$name" /usr/share/seabios/bios-256k.bin 250 --vcpu "num=$vcpus" --platform "$platform" --block "path=/tmp/$name.img" --rng </dev/null
  cp "/tmp/$name.img" "$out/"
done
