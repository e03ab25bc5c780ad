#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The Xen backend's unit tests on real Xen, where elsewhere most of them have nothing to stand on, and what a round trip costs against a bare ioreq loop.
# usage: xen_unit.sh     UNIT_XEN, BENCH_IOREQ: build/release-xen/bin/{unit_xen,bench_ioreq_round_trip}
set -uo pipefail
export E2E_HYPERVISOR=xen
. "$(dirname "$0")/lib.sh"
exec "$e2e_root/scripts/testbed" xen --timeout "${E2E_TIMEOUT:-420}" -- "$e2e_root/tests/e2e/inside/xen_unit.sh" \
  "${UNIT_XEN:-$e2e_build/bin/unit_xen}" "${BENCH_IOREQ:-$e2e_build/bin/bench_ioreq_round_trip}"
