#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the guest, sourced by its init: /dev/vda begins with a region that nobody writes (a checksum of it is said), then comes fio's, then what is discarded.
#   trivet.kept=MIB trivet.used=MIB trivet.cut=MIB   the sizes of the three; fio's is a multiple of 4
PATH=$PATH:/usr/bin:/usr/sbin
kept=$(parameter trivet.kept) used=$(parameter trivet.used) cut=$(parameter trivet.cut)
disk=/dev/vda
say "queues $(ls /sys/block/vda/mq | wc -l)"
# Bit 34 of what was negotiated.
say "packed $(cut -c 35 /sys/block/vda/device/features)"

# run_fio NAME OPTION...: says "fio NAME ok" if fio ended well and no job of its own has an error.
run_fio() {
  name=$1
  shift
  fio --name="$name" --filename=$disk --direct=1 --ioengine=libaio --thread --group_reporting --randrepeat=1 "$@" >/tmp/fio 2>&1
  status=$?
  if [ $status = 0 ] && grep -q 'err= 0:' /tmp/fio && ! grep -qE 'err=([^ ]| [^0])|verify:|bad magic' /tmp/fio; then
    say "fio $name ok"
  else
    say "FAIL fio $name, exit status $status"
    cat /tmp/fio
  fi
  sed -n 's/^ *\(read\|write\|trim\): \(IOPS.*\)$/guest: fio '"$name"' \1 \2/p' /tmp/fio
}

kept_sum() { dd if=$disk bs=1M count="$kept" 2>/dev/null | sha256sum | cut -d ' ' -f 1; }
say "kept $(kept_sum)"
# Four at a time, each in its own quarter, 128 requests in flight, reads between the writes; in the end all that was written is read and checked.
run_fio mixed --rw=randrw --bssplit=4k/40:8k/20:16k/20:64k/20 --iodepth=32 --numjobs=4 --size=$((used / 4))m --offset="${kept}m" --offset_increment=$((used / 4))m \
  --verify=crc32c --verify_fatal=1 --verify_backlog=64
# Written once over and not read: the host does that, with the same numbers.
run_fio host --rw=randwrite --bs=16k --iodepth=32 --size="${used}m" --offset="${kept}m" --verify=crc32c --do_verify=0 --end_fsync=1 --randseed=74726976
# Written, cut out, and written and cut out again by fio itself.
[ "$(cat /sys/block/vda/queue/discard_max_bytes)" != 0 ] || say "FAIL no discard"
run_fio trim --rw=randtrim --bs=64k --iodepth=8 --size="${cut}m" --offset=$((kept + used))m
blkdiscard -o $(((kept + used) << 20)) -l $((cut << 20)) $disk && say "discarded" || say "FAIL blkdiscard"
holes=$(dd if=$disk bs=1M skip=$((kept + used)) count="$cut" 2>/dev/null | tr -d '\0' | wc -c)
[ "$holes" = 0 ] && say "discarded is zero" || say "FAIL $holes bytes are not zero"
say "kept again $(kept_sum)"
