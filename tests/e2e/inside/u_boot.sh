#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: starts U-Boot with OUT/disk.img, types commands at its prompt, and leaves in OUT what it said and the disk (after.img).
# usage: u_boot.sh OUT
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/bios.sh"
out=$1
commands=(
  "qfw list"
  "virtio scan"
  "virtio info"
  "load virtio 0 2000000 payload"
  "crc32 2000000 \${filesize}"
  "ext4write virtio 0 2000000 /copy \${filesize}"
  "iow.b 600 34" # powers off through ACPI
)
cp "$out/disk.img" /tmp/disk.img
: >/tmp/u-boot.log
prompts() { tr '\r' '\n' </tmp/u-boot.log | grep -c '^=> '; }
# prompt COUNT: until U-Boot has prompted so often; false after a minute.
prompt() {
  local deadline=$((SECONDS + 60))
  until [ "$(prompts)" -ge "$1" ]; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.2
  done
}
# Its autoboot gives a second or two to any key, by a clock that is not right everywhere: newlines until it prompts, and once it does, one that tells
# how many were too much.
type_commands() {
  local deadline=$((SECONDS + 90)) number=1 command
  until prompt_now || [ $SECONDS -ge $deadline ]; do
    echo
    sleep 0.2
  done
  sleep 2
  number=$(prompts)
  for command in "${commands[@]}"; do
    prompt "$number" || return
    echo "$command"
    number=$((number + 1))
  done
  prompt "$number"
}
prompt_now() { [ "$(prompts)" -gt 0 ]; }
type_commands | run_firmware u-boot /usr/lib/u-boot/qemu-x86/u-boot.rom 150 --block path=/tmp/disk.img
cp /tmp/disk.img "$out/after.img"
