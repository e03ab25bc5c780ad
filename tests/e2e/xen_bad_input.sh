#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Domains that are wrong, taken, too many or gone: clear errors, nothing left, Xen unharmed.
set -uo pipefail
export E2E_HYPERVISOR=xen
. "$(dirname "$0")/lib.sh"
need_guest
testbed_options=(--xl)
in_testbed "$out" xen_bad_input.sh
