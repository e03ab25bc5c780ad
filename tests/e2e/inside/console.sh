#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux once for each home, with programs of the host at the ports' sockets, on a terminal of its own that gets another size. Leaves
# log, status and what the programs said in OUT.
# usage: console.sh OUT BYTES HOME...     (OUT/guest holds the guest's files)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
out=$1 bytes=$2
shift 2
cp "$out/guest/guest-peer" /tmp/guest-peer
mkdir /tmp/ports
for home in "$@"; do
  started=$EPOCHREALTIME
  linux_command "$out/guest/vmlinux" "$out/guest/initrd" "quiet trivet.ports=$bytes" --platform "virtio=$home" \
    --port "name=org.example.bytes,socket=/tmp/ports/bytes" --port "name=org.example.line,socket=/tmp/ports/line" \
    --port "console=on,output=-" --console "input=off,output=-" --serial "input=off,output=/tmp/$home.log"
  printf -v line ' %q' "${command[@]}"
  SHELL=/bin/bash bounded 100 script -qefc "tty >/tmp/$home.tty; stty rows 30 cols 100; exec$line 2>/tmp/$home.err" "/tmp/$home.terminal" </dev/null >/dev/null &
  guest=$!
  # Who connects before the guest is there waits for it.
  for _ in $(seq 100); do [ ! -S /tmp/ports/line ] || break; sleep 0.1; done
  /tmp/guest-peer connect unix:/tmp/ports/bytes raw "$bytes" 1 >"/tmp/$home.peer" 2>&1 &
  if wait_for '^guest: port ok' "/tmp/$home.log" 60; then
    /tmp/guest-peer say unix:/tmp/ports/line one >>"/tmp/$home.peer" 2>&1
    wait_for '^guest: port the first program' "/tmp/$home.log" 30
    /tmp/guest-peer say unix:/tmp/ports/line two >>"/tmp/$home.peer" 2>&1
  fi
  # As a window does that somebody drags: the kernel tells the program on the terminal.
  wait_for '^guest: port sizes' "/tmp/$home.log" 30 && stty -F "$(cat "/tmp/$home.tty")" rows 50 cols 132
  wait $guest
  echo $? >"$out/$home.status"
  wait
  echo "$home: exit status $(cat "$out/$home.status") after $(seconds_since "$started") s"
  cp "/tmp/$home".{log,err,peer,terminal} "$out/"
  ls /tmp/ports >"$out/$home.left"
done
