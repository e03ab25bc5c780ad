#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Every way a run can end, by the guest and by a signal: the exit status is right, the terminal is as it was, nothing stays behind.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest
in_testbed "$out" endings.sh
