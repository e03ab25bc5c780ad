#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux once for each home, with programs of the host on both kinds of Unix sockets. Leaves log, status and what the programs said in OUT.
# usage: vsock.sh OUT BYTES HOME...     (OUT/guest holds the guest's files)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
out=$1 bytes=$2
shift 2
cp "$out/guest/guest-peer" /tmp/guest-peer
mkdir /tmp/vsock
at=/tmp/vsock/v
for home in "$@"; do
  started=$EPOCHREALTIME
  /tmp/guest-peer listen "unix:${at}_1024" stream "$bytes" 3 >"/tmp/$home.1024" 2>&1 &
  /tmp/guest-peer listen "unix:${at}_1025" seqpacket "$bytes" 2 >"/tmp/$home.1025" 2>&1 &
  linux_command "$out/guest/vmlinux" "$out/guest/initrd" "quiet trivet.vsock=$bytes" --platform "virtio=$home" --vsock "cid=42,path=$at"
  bounded 100 "${command[@]}" </dev/null >"/tmp/$home.log" 2>"/tmp/$home.err" &
  guest=$!
  if wait_for '^guest: vsock listening' "/tmp/$home.log" 60; then
    /tmp/guest-peer connect "relay:$at:52" stream "$bytes" 3 >"/tmp/$home.52" 2>&1 &
    /tmp/guest-peer connect "relay:$at.seqpacket:53" seqpacket "$bytes" 2 >"/tmp/$home.53" 2>&1 &
  fi
  wait $guest
  echo $? >"$out/$home.status"
  wait
  echo "$home: exit status $(cat "$out/$home.status") after $(seconds_since "$started") s"
  cat "/tmp/$home".{1024,1025,52,53} >"$out/$home.peers"
  cp "/tmp/$home".{log,err} "$out/"
  rm -f "${at}_1024" "${at}_1025"
  ls /tmp/vsock >"$out/$home.left"
done
