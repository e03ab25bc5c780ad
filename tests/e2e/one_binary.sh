#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# One binary for every host: where Xen's libraries are not, it starts, says of Xen what is missing, and runs KVM; with the module beside it and the
# libraries there, it runs Xen.
set -uo pipefail
export E2E_HYPERVISOR=xen
. "$(dirname "$0")/lib.sh"
need_program
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for E2E_HYPERVISOR in kvm xen; do
  in_testbed "$out" one_binary.sh || { echo "the $E2E_HYPERVISOR testbed failed"; exit 1; }
done
check "the program needs no library of Xen's" is "$(grep -c libxen "$out/libraries")" 0
check "without them: it lists Xen as not usable, and why" has '^xen +not usable: .*libxen.*(No such file|cannot open)' "$out/kvm.backends"
check "without them: KVM is usable" has '^kvm +usable' "$out/kvm.backends"
check "without them: it runs KVM" is "$(cat "$out/kvm.status")" 0
check "... to the guest's end" has '^guest: done, poweroff' "$out/kvm.log"
check "asked for Xen: one line that says why not" has '^trivet: .*xen.*libxen' "$out/kvm.refused"
check "on Xen: it lists it as usable" has '^xen +usable' "$out/xen.backends"
check "on Xen: it lists KVM as not usable, and why" has '^kvm +not usable: .*/dev/kvm' "$out/xen.backends"
check "on Xen: auto takes it and runs the guest" is "$(cat "$out/xen.status")" 0
check "... to the guest's end" has '^guest: done, poweroff' "$out/xen.log"
check "... which sees Xen" has '^hypervisor: "XenVMMXenVMM"' "$out/xen.log"
[ "$failed" = 0 ] || { show "$out/kvm.backends"; show "$out/xen.backends"; show "$out/kvm.refused"; }
finish
