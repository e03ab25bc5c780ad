#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux once for each case, "NAME PLATFORM", with programs of the host on both kinds of Unix sockets: streams, then messages, of each
# first what the guest connects, then what the host does. Leaves log, status and what the programs said in OUT.
# usage: vsock_long.sh OUT BYTES CONNECTIONS CASE...     (OUT/guest holds the guest's files)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
out=$1 bytes=$2 connections=$3
shift 3
cp "$out/guest/guest-peer" /tmp/guest-peer
platform_options=() # each case has its own
mkdir /tmp/vsock
at=/tmp/vsock/v
for case in "$@"; do
  read -r name platform <<<"$case"
  started=$EPOCHREALTIME
  : >"/tmp/$name.log"
  linux_command "$out/guest/vmlinux" "$out/guest/initrd-scripts" "quiet trivet.script=vsock_long trivet.bytes=$bytes trivet.connections=$connections" \
    --platform "$platform" --vsock "cid=42,path=$at"
  bounded 400 "${command[@]}" </dev/null >"/tmp/$name.log" 2>"/tmp/$name.err" &
  guest=$!
  # listen_for TYPE PORT: in the background; the other end finds it there.
  listen_for() {
    /tmp/guest-peer listen "unix:${at}_$2" "$1" "$bytes" "$connections" >"/tmp/$name.$1" 2>&1 &
    listener=$!
    wait_for '^listening' "/tmp/$name.$1" 20
  }
  # connect_to TYPE ADDRESS: once the guest listens.
  connect_to() {
    wait_for "^guest: vsock listening $1" "/tmp/$name.log" 60 && /tmp/guest-peer connect "relay:$2" "$1" "$bytes" "$connections" >"/tmp/$name.$1.relay" 2>&1
  }
  listen_for stream 1024
  wait $listener
  # The guest connects to this as soon as it has served what comes next.
  listen_for seqpacket 1025
  connect_to stream "$at:52"
  wait $listener
  connect_to seqpacket "$at.seqpacket:53"
  wait $guest
  echo $? >"$out/$name.status"
  echo "$name: exit status $(cat "$out/$name.status") after $(seconds_since "$started") s"
  cat "/tmp/$name".{stream,seqpacket}{,.relay} >"$out/$name.peers"
  cp "/tmp/$name".{log,err} "$out/"
  rm -f "${at}_1024" "${at}_1025"
  ls /tmp/vsock >"$out/$name.left"
done
