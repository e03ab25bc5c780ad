#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: boots Linux with one device of each kind for each case, "NAME PLATFORM", which takes them from their drivers and gives them back; leaves in
# OUT the log, the status, and the descriptors and the memory of the process before, between and after.
# usage: rebind.sh OUT ROUNDS TRANSPORT-ROUNDS CASE...     (OUT/guest holds the guest's files, OUT/payload what it downloads)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/network.sh"
out=$1 rounds=$2 transport_rounds=$3
shift 3
platform_options=() # each case has its own
cp "$out/guest/guest-peer" /tmp/guest-peer
mkdir /tmp/vsock
# sizes NAME WHEN: once the guest of that case waits for it, the program's descriptors, KiB without the guest's memory, and threads.
sizes() {
  local process
  until grep -q "^guest: count $2" "/tmp/$1.log"; do
    kill -0 $guest 2>/dev/null || return
    sleep 0.2
  done
  process=$(running "$TRIVET_BIN" | head -n 1)
  process=${process#/proc/}
  process=${process%/exe}
  echo "$(find "/proc/$process/fd" -mindepth 1 | wc -l) $(rss_without_guest "$process") $(find "/proc/$process/task" -mindepth 1 -maxdepth 1 | wc -l)" >"$out/$1.$2"
  : >"$network_folder/www/counted-$2"
}
for case in "$@"; do
  read -r name platform <<<"$case"
  cp "$out/guest/disk.img" "/tmp/$name.img"
  chmod u+w "/tmp/$name.img"
  network_up 1 1500 "$out/payload" /dev/null
  # A new one whenever the guest was served, or one had to wait for two minutes.
  (
    trap 'kill $peer; exit' TERM
    while :; do
      rm -f /tmp/vsock/v_1024
      /tmp/guest-peer listen unix:/tmp/vsock/v_1024 stream 200000 2 &
      peer=$!
      wait $peer
    done
  ) >"/tmp/$name.peers" 2>&1 &
  listener=$!
  : >"/tmp/$name.log"
  linux_command "$out/guest/vmlinux" "$out/guest/initrd-scripts" "quiet trivet.script=rebind trivet.rounds=$rounds trivet.transport_rounds=$transport_rounds" \
    --platform "$platform" --block "path=/tmp/$name.img" --console "output=/tmp/$name.hvc0" --rng --vsock cid=42,path=/tmp/vsock/v \
    --balloon target_mib=4 --net tap=t0,mac=52:54:00:12:34:56
  started=$EPOCHREALTIME
  bounded 1500 "${command[@]}" </dev/null >"/tmp/$name.log" 2>"/tmp/$name.err" &
  guest=$!
  for when in begin over end; do sizes "$name" $when; done
  wait $guest
  echo $? >"$out/$name.status"
  echo "$name: exit status $(cat "$out/$name.status") after $(seconds_since "$started") s"
  kill $listener
  wait $listener 2>/dev/null
  network_down "/tmp/$name.counters"
  cp "/tmp/$name".{log,err,img,hvc0,peers} "$out/"
done
