#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: starts SeaBIOS once for each case, "NAME ROM PLATFORM ...", with a disk that has a boot sector; leaves in OUT status, serial output and
# the firmware's own log.
# usage: firmware.sh OUT NONCE CASE...
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/bios.sh"
out=$1 nonce=$2
shift 2
for case in "$@"; do
  read -r name rom platform _ <<<"$case"
  boot_sector "BOOT-SECTOR $nonce" "/tmp/$name.img"
  run_firmware "$name" "/usr/share/seabios/$rom" 60 --vcpu num=2 --platform "$platform" --block "path=/tmp/$name.img" </dev/null
done
