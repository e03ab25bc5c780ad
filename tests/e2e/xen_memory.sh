#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The memory room's tests on real Xen, and virtio's of hostile rings: frames and grants of a guest that xl made, bad references among them.
# usage: xen_memory.sh     UNIT_MEMORY, UNIT_VIRTIO: build/release-xen/bin/unit_{memory,virtio}
set -uo pipefail
export E2E_HYPERVISOR=xen
. "$(dirname "$0")/lib.sh"
guest=$("$e2e_root/scripts/guest-image") || exit 1
exec "$e2e_root/scripts/testbed" xen --xl --timeout "${E2E_TIMEOUT:-420}" -- "$e2e_root/tests/e2e/inside/xen_memory.sh" "$guest" \
  "${UNIT_MEMORY:-$e2e_build/bin/unit_memory}" "${UNIT_VIRTIO:-$e2e_build/bin/unit_virtio}"
