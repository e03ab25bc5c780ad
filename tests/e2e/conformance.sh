#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The conformance suite on real KVM or Xen, whatever this machine has. Time limits are stretched: an exit costs tens of microseconds in the testbed.
# usage: conformance.sh     CONFORMANCE_BIN: build/release/bin/trivet-conformance, E2E_HYPERVISOR: kvm
set -uo pipefail
. "$(dirname "$0")/lib.sh"
program=${CONFORMANCE_BIN:-$e2e_build/bin/trivet-conformance}
exec "$e2e_root/scripts/testbed" "$E2E_HYPERVISOR" --timeout "${E2E_TIMEOUT:-600}" -- "$program" --hypervisor "$E2E_HYPERVISOR" --slow 8
