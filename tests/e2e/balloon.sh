#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux's own driver and the balloon: what it inflates leaves the host's memory, statistics follow, it deflates; a guest that runs out of
# memory takes back what it needs, and nothing in it is killed; reported free pages come by themselves.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest
E2E_MEMORY=320
BALLOON_BIN=${BALLOON_BIN:-$e2e_build/bin/trivet_e2e_balloon}
in_testbed "$out" balloon.sh "$BALLOON_BIN" 160 176 || { echo "the testbed failed"; exit 1; }
# value NAME FILE: of "NAME=VALUE" in a line.
value() { grep -o "\\b$1=[0-9]*" "$2" | head -n 1 | cut -d= -f2; }
at_least() { [ "${1:-0}" -ge "$2" ]; }
near() { [ "${1:-0}" -ge $(($2 - $3)) ] && [ "${1:-0}" -le $(($2 + $3)) ]; }
said=$out/inflate.out
mib=$((1024 * 1024))
check "the guest used 160 MiB and gave them back to itself" has '^guest: balloon: 160 MiB used and freed' "$out/inflate.log"
check "it ended well" is "$(cat "$out/inflate.status")" 0
check "all pages that were asked for were given" at_least "$(value pages "$said")" $((176 * 256))
check "the host has them" at_least "$(value released "$said")" $((176 * 256))
check "none was nonsense" is "$(value ignored "$said")" 0
check "the process shrank by 128 MiB or more" at_least $(($(value before "$said") - $(value inflated "$said"))) $((128 * 1024))
check "statistics: the whole memory" near "$(value total "$said")" $((320 * mib)) $((80 * mib))
check "statistics: less is free while it is inflated" near $(($(value free_before "$said") - $(value free_inflated "$said"))) $((176 * mib)) $((2 * mib))
check "statistics: and as much as before in the end" near "$(value free_deflated "$said")" "$(value free_before "$said")" $((2 * mib))
check "all of it was taken back" at_least "$(value deflated_pages "$said")" $((176 * 256))
check "hungry: the guest has less than it will use" at_least 120 "$(sed -nE 's/^guest: balloon: ([0-9]+) MiB left.*/\1/p' "$out/hungry.log")"
check "hungry: it ended well" is "$(cat "$out/hungry.status")" 0
check "hungry: it got 160 MiB" has '^guest: balloon: 160 MiB used beside it' "$out/hungry.log"
check "hungry: nothing was killed for it" has '^guest: balloon: killed for memory: 0' "$out/hungry.log"
check "hungry: the balloon gave 40 MiB or more, unasked" at_least $((176 * 256 - $(value left "$out/hungry.out"))) $((40 * 256))
check "hungry: and kept the rest" at_least "$(value left "$out/hungry.out")" 256
check "reporting: it ended well" is "$(cat "$out/report.status")" 0
check "reporting: 64 MiB or more came without a balloon" at_least "$(value released "$out/report.out")" $((64 * 256))
check "reporting: nothing was inflated" is "$(value inflated "$out/report.out")" 0
for run in inflate hungry report; do
  check "$run: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic' "$out/$run.log"
  check "$run: nothing on stderr" is "$(cat "$out/$run.err")" ""
done
cat "$said" "$out/hungry.out" "$out/report.out"
[ "$failed" = 0 ] || for run in inflate hungry report; do show "$out/$run.log"; show "$out/$run.err"; done
finish
