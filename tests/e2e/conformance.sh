#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The conformance suite on real KVM or Xen, whatever this machine has. Time limits are stretched: an exit costs tens of microseconds in the testbed.
# usage: conformance.sh     CONFORMANCE_BIN: build/release/bin/trivet-conformance, E2E_HYPERVISOR: kvm
set -uo pipefail
. "$(dirname "$0")/lib.sh"
program=${CONFORMANCE_BIN:-$e2e_build/bin/trivet-conformance}
# Beside what the other backends said in the same build.
results=$(dirname "$program")/../conformance
mkdir -p "$results"
name=$E2E_HYPERVISOR
[ "$name" != kvm ] || name=kvm-testbed
"$e2e_root/scripts/testbed" "$E2E_HYPERVISOR" --timeout "${E2E_TIMEOUT:-600}" -- "$program" --hypervisor "$E2E_HYPERVISOR" --slow 8 | tee "$results/$name.txt"
status=$?
"$e2e_root/tests/conformance/table.sh" "$results" || status=1
exit $status
