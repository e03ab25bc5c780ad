#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The conformance table: what trivet-conformance --save left, a column a file, and below it the reason of each unsupported scenario.
# Fails where a scenario failed, is unsupported without a reason of the backend's own, or is missing in a column.
# usage: table.sh FOLDER     (its files NAME.txt)
set -euo pipefail
cd "$1"
shopt -s nullglob
files=()
for file in *.txt; do [ ! -s "$file" ] || files+=("$file"); done
[ ${#files[@]} -gt 0 ] || { echo "table.sh: no results in $1"; exit 77; }
awk '
  FNR == 1 { columns[++count] = substr(FILENAME, 1, length(FILENAME) - 4) }
  $1 ~ /:$/ { ended[count] = 1; next }
  {
    if (!($2 in known)) { known[$2] = 1; rows[++height] = $2 }
    verdict[$2, count] = $3
    if ($3 == "fail") bad = bad "\n" columns[count] ": " $2 " failed"
    if ($3 != "unsupported") next
    reason = $0
    sub(/^[^ ]+ [^ ]+ unsupported ?/, "", reason)
    if (reason !~ /^(capability|limit|state element) [a-z_]+ is /) bad = bad "\n" columns[count] ": " $2 " is unsupported, and why is not said"
    why[count] = why[count] "  " $2 ": " reason "\n"
  }
  END {
    printf "%-26s", "scenario"
    for (c = 1; c <= count; c++) printf " %-15s", columns[c]
    print ""
    for (r = 1; r <= height; r++) {
      printf "%-26s", rows[r]
      for (c = 1; c <= count; c++) {
        word = verdict[rows[r], c]
        printf " %-15s", word == "" ? "missing" : word
        if (word == "") bad = bad "\n" columns[c] ": " rows[r] " is missing"
      }
      print ""
    }
    for (c = 1; c <= count; c++) {
      if (!ended[c]) bad = bad "\n" columns[c] ": did not end"
      if (why[c] != "") printf "unsupported on %s:\n%s", columns[c], why[c]
    }
    if (bad != "") { print "wrong:" bad; exit 1 }
  }' "${files[@]}"
