#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Wrong input of every kind to trivet run: one clear line, the right exit status, no crash, nothing harmed.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest
cp "$out/guest/disk.img" "$out/guest/disk.before"
in_testbed "$out" bad_input.sh
