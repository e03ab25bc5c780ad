#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# U-Boot, as Debian packages it, starts from our ROM; at its prompt, which we type to, its own virtio drivers read a file from our disk (with the right
# checksum) and write one.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_program
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
PATH=$PATH:/usr/sbin:/sbin
mkdir "$out/files"
head -c 3000000 /dev/urandom >"$out/files/payload"
truncate -s 16M "$out/disk.img"
mke2fs -q -t ext2 -d "$out/files" "$out/disk.img" || exit 1
E2E_TIMEOUT=${E2E_TIMEOUT:-300}
in_testbed "$out" u_boot.sh || { echo "the testbed failed"; exit 1; }

crc32() { gzip -1c "$1" | tail -c 8 | od -An -tx4 -N4 | tr -d ' \n'; } # gzip ends with it
same() { debugfs -R "dump /$1 $out/dumped" "$out/after.img" 2>/dev/null && cmp "$out/dumped" "$out/files/payload"; }
log=$out/u-boot.text
sum=$(crc32 "$out/files/payload")
check "exit status 0" is "$(cat "$out/u-boot.status")" 0
check "U-Boot starts" has '^U-Boot 20' "$log"
check "it finds the memory" has "^DRAM: +${E2E_MEMORY:-512} MiB" "$log"
check "it reads what the machine is" has '^etc/table-loader' "$log"
check "its driver finds the disk" has 'Device 0: 1af4 VirtIO Block Device' "$log"
check "and its size" has 'Capacity: 16.0 MB = 0.0 GB \(32768 x 512\)' "$log"
check "it reads a file" has '^3000000 bytes read' "$log"
check "whose checksum is the file's" has "^crc32 for 02000000 ... 022dc6bf ==> $sum" "$log"
check "it writes a file" has '^3000000 bytes written' "$log"
check "which is on the disk" same copy
check "the file system is clean" clean_filesystem "$out/after.img"
check "nothing on stderr" is "$(cat "$out/u-boot.err")" ""
[ "$failed" = 0 ] || { show "$log" 60; show "$out/u-boot.err"; }
finish
