#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Somebody else's front end: Linux in the distribution's QEMU (emulation, on this machine, no hypervisor) on our block, entropy and socket devices, each behind
# the tests' vhost-user harness: checksums of a disk, what it wrote, random bytes, connections both ways; the server ends when QEMU does, with nothing to say.
# Once over split rings, and once with packed ones for block and entropy: QEMU 7.2 asks no back end for them for sockets.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$e2e_root/scripts/lib/testbed.sh"
need_guest
VHOST_USER_BIN=${VHOST_USER_BIN:-$e2e_build/bin/trivet_e2e_vhost_user}
bytes=300000

# front_end NAME PACKED: a boot of the guest; PACKED is QEMU's word for the rings.
front_end() {
  local name=$1 packed=$2 before=$failed log=$out/guest.log qemu_status=0 server_status=0 server peer peers nonce device end file port qemu
  rm -f "$out"/*.sock "$out"/v "$out"/v.* "$out"/v_* "$out"/*.peer "$log"
  nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' \n')

  "$VHOST_USER_BIN" block "$out/block.sock" "$out/guest/disk.img" rng "$out/rng.sock" - vsock "$out/vsock.sock" "$out/v" >"$out/server.out" 2>"$out/server.err" &
  server=$!
  trap 'kill "$server" 2>/dev/null; rm -rf "$out"' EXIT
  wait_for '^listening' "$out/server.out" 20 || { show "$out/server.err"; exit 1; }
  peer=$out/guest/guest-peer
  "$peer" listen "unix:$out/v_1024" stream "$bytes" 3 >"$out/1024.peer" 2>&1 &
  peers=($!)
  "$peer" listen "unix:$out/v_1025" seqpacket "$bytes" 2 >"$out/1025.peer" 2>&1 &
  peers+=($!)

  # Its memory must be a file that another process can map.
  qemu=("${pinned[@]}" qemu-system-x86_64 -accel tcg -M q35,memory-backend=memory -cpu qemu64 -m 256 -nodefaults -no-user-config -display none -no-reboot
    -object memory-backend-memfd,id=memory,size=256M,share=on
    -chardev "socket,id=block,path=$out/block.sock" -device vhost-user-blk-pci-non-transitional,chardev=block,packed=$packed
    -chardev "socket,id=rng,path=$out/rng.sock" -device vhost-user-rng-pci,chardev=rng,packed=$packed
    -chardev "socket,id=vsock,path=$out/vsock.sock" -device vhost-user-vsock-pci-non-transitional,chardev=vsock
    -chardev "file,id=console,path=$log" -serial chardev:console
    -kernel "$out/guest/vmlinuz" -initrd "$out/guest/initrd"
    -append "console=ttyS0 panic=1 quiet random.trust_cpu=on trivet.nonce=$nonce trivet.vsock=$bytes")
  timeout --foreground 300 "${qemu[@]}" </dev/null >"$out/qemu.out" 2>"$out/qemu.err" &
  qemu=$!
  if wait_for '^guest: vsock listening' "$log" 280; then
    "$peer" connect "relay:$out/v:52" stream "$bytes" 3 >"$out/52.peer" 2>&1 &
    peers+=($!)
    "$peer" connect "relay:$out/v.seqpacket:53" seqpacket "$bytes" 2 >"$out/53.peer" 2>&1 &
    peers+=($!)
  fi
  wait "$qemu" || qemu_status=$?
  timeout 20 tail -f /dev/null --pid "$server" # it ends by itself
  if kill -0 "$server" 2>/dev/null; then server_status=still-running; else wait "$server" || server_status=$?; fi
  kill "${peers[@]}" 2>/dev/null
  wait "${peers[@]}" 2>/dev/null

  check "$name: QEMU ended well" is "$qemu_status" 0
  check "$name: and said nothing" is "$(grep -v "TCG doesn't support" "$out/qemu.err")" ""
  check "$name: the server ended with it, status 0" is "$server_status" 0
  check "$name: and found nothing to complain of" is "$(cat "$out/server.err")" ""
  for device in block rng vsock; do check "$name: $device: one connection, to its end" is "$(grep "^$device:" "$out/server.out" | tr '\n' ' ')" "$device: connected $device: ended "; done
  check "$name: reaches /init" has '^TRIVET-INIT' "$log"
  check "$name: rings are packed where QEMU was told" is "$(grep -c '^guest: virtio ring packed' "$log")" "$(if [ "$packed" = on ]; then echo 2; else echo 0; fi)"
  check "$name: block: checksums of the mounted disk" has '^guest: disk checksums ok' "$log"
  check "$name: block: writes the disk" has '^guest: disk written' "$log"
  check "$name: block: the file system is clean" clean_filesystem "$out/guest/disk.img"
  check "$name: block: the guest's file is there, of this run" wrote_nonce "$out/guest/disk.img" "$nonce"
  check "$name: rng: random bytes" has '^guest: rng 32 bytes from virtio_rng.*: [0-9a-f]{64}' "$log"
  for end in "connect vsock:1024 stream: $bytes bytes each way on 3" "connect vsock:1025 seqpacket: $bytes bytes each way on 2" \
    "listen vsock:52 stream: $bytes bytes each way on 3" "listen vsock:53 seqpacket: $bytes bytes each way on 2"; do
    check "$name: vsock: in the guest, $end connections" has "^guest: vsock ok $end connections" "$log"
  done
  for end in 1024 1025 52 53; do check "$name: vsock: on the host, port $end" has "^ok .* $bytes bytes each way" "$out/$end.peer"; done
  check "$name: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic' "$log"
  [ "$failed" = "$before" ] || for file in guest.log qemu.err server.out server.err 1024.peer 1025.peer 52.peer 53.peer; do [ ! -f "$out/$file" ] || show "$out/$file" 40; done
}

one_cpu # see scripts/testbed
front_end split off
front_end packed on
finish
