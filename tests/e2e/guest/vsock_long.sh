#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the guest, sourced by its init: much through virtio-vsock both ways on several connections at once, connected from here and from the host.
#   trivet.bytes=BYTES   each way on each connection   trivet.connections=N
load /modules/vsock
# Bit 34 of what was negotiated.
say "packed $(cut -c 35 /sys/bus/virtio/drivers/vmw_vsock_virtio_transport/virtio*/features)"
bytes=$(parameter trivet.bytes) connections=$(parameter trivet.connections)
for type in stream seqpacket; do
  case $type in stream) port=1024 own=52 ;; *) port=1025 own=53 ;; esac
  guest-peer connect vsock:$port $type "$bytes" "$connections" 2>&1 | sed 's/^/guest: vsock /'
  : >/tmp/listener # who listened before has said so in it
  guest-peer listen vsock:$own $type "$bytes" "$connections" >/tmp/listener 2>&1 &
  until grep -q '^listening' /tmp/listener; do usleep 100000; done
  say "vsock listening $type"
  wait
  sed 's/^/guest: vsock /' /tmp/listener
done
