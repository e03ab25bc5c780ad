#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux once for each case, "NAME FORM VCPUS PLATFORM BLOCK", and lets fio use its disk, a file on ext4; leaves in OUT the log, the
# status, and what the host finds in the image.
# usage: block_long.sh OUT KEPT USED CUT CASE...     (MiB; OUT/guest holds the guest's files, OUT/modules what ext4 needs)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/modules.sh"
out=$1 kept=$2 used=$3 cut=$4
shift 4
export PATH=$PATH:/usr/sbin:/sbin
size=$((kept + used + cut))
platform_options=() # each case has its own
load_modules "$out/modules" brd rd_nr=1 rd_size=$(((size * 5 / 4 + 16) * 1024)) || exit 1
mke2fs -q -t ext4 -O ^has_journal -m 0 /dev/ram0 && mkdir /run/disk && mount -t ext4 /dev/ram0 /run/disk || exit 1
image=/run/disk/image

for case in "$@"; do
  read -r name form vcpus platform block <<<"$case"
  head -c $((size << 20)) /dev/urandom >$image
  head -c $((kept << 20)) $image | sha256sum | cut -d ' ' -f 1 >"$out/$name.kept"
  before=$(stat -c %b $image)
  started=$EPOCHREALTIME
  linux_command "$out/guest/$form" "$out/guest/initrd-tools" "quiet trivet.script=block_long trivet.kept=$kept trivet.used=$used trivet.cut=$cut" \
    --vcpu "num=$vcpus" --platform "$platform" --block "path=$image,$block"
  bounded 300 "${command[@]}" </dev/null >"/tmp/$name.log" 2>"/tmp/$name.err"
  echo $? >"$out/$name.status"
  echo "$name: exit status $(cat "$out/$name.status") after $(seconds_since "$started") s"
  # On the disk, not in memory, is what this reads.
  sync
  echo 3 >/proc/sys/vm/drop_caches
  {
    echo "kept $(head -c $((kept << 20)) $image | sha256sum | cut -d ' ' -f 1)"
    echo "MiB given back $(((before - $(stat -c %b $image)) / 2048))"
    fio --name=host --filename=$image --ioengine=psync --randrepeat=1 --rw=randwrite --bs=16k --size="${used}m" --offset="${kept}m" --verify=crc32c \
      --verify_only --randseed=74726976 --verify_fatal=1 2>&1
    echo "verified $?"
  } >"/tmp/$name.host"
  cp "/tmp/$name".{log,err,host} "$out/"
done
