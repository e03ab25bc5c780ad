#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The Xen backend's unit tests on real Xen: elsewhere most of them have nothing to stand on.
# usage: xen_unit.sh     UNIT_XEN: build/release-xen/bin/unit_xen
set -uo pipefail
export E2E_HYPERVISOR=xen
. "$(dirname "$0")/lib.sh"
program=${UNIT_XEN:-$e2e_build/bin/unit_xen}
exec "$e2e_root/scripts/testbed" xen --timeout "${E2E_TIMEOUT:-420}" -- "$program" --gtest_color=no
