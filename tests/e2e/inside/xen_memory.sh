#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the Xen testbed with xl's daemons: the memory tests of a xen build, and those of hostile rings, with the frames of a real guest and grants that it,
# and dom0, really made.
# usage: scripts/testbed xen --xl -- tests/e2e/inside/xen_memory.sh GUEST UNIT_MEMORY UNIT_VIRTIO   (GUEST is what scripts/guest-image printed)
set -uo pipefail
guest=$1 memory=$2 virtio=$3
cat >/tmp/grantor.cfg <<CONFIG
type = "pvh"
name = "grantor"
kernel = "$guest/vmlinux"
memory = 128
tsc_mode = "native"
CONFIG
# Paused: its kernel has not begun, so that its memory and its grant table are the tests' own.
xl create -p /tmp/grantor.cfg >/tmp/xl.log 2>&1 || { cat /tmp/xl.log >&2; exit 1; }
TRIVET_TEST_DOMAIN=$(xl domid grantor)
export TRIVET_TEST_DOMAIN
status=0
timeout 200 "$memory" --gtest_filter='*Granted*:Xen*' --gtest_color=no || status=1
timeout 200 "$virtio" --gtest_filter='*HostileRing*' --gtest_color=no || status=1
xl destroy grantor || status=1
exit $status
