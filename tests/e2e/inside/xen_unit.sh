#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the Xen testbed: the backend's unit tests, then the exit round trip against a bare loop. The least of three ratios counts: what else runs on an
# emulated CPU only ever adds.
# usage: scripts/testbed xen -- tests/e2e/inside/xen_unit.sh UNIT_XEN BENCH
set -uo pipefail
unit=$1 bench=$2
"$unit" --gtest_color=no --gtest_brief=1 || exit 1
for _ in 1 2 3; do
  "$bench" 21 50 && exit 0
done
exit 1
