#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the Xen testbed: the backend's unit tests, then the exit round trip against a bare loop: one run, the median of 63 turns of both.
# usage: scripts/testbed xen -- tests/e2e/inside/xen_unit.sh UNIT_XEN BENCH
set -uo pipefail
unit=$1 bench=$2
"$unit" --gtest_color=no --gtest_brief=1 || exit 1
exec "$bench" 63 50
