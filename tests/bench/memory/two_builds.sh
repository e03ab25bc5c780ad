#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What the xen build's access guard costs where nothing is mapped on demand: the same benchmark of two builds, in turns; the least time of each
# operation counts, since what else runs here only ever adds.
# usage: two_builds.sh MMAP-BUILD XEN-BUILD [ROUNDS [BENCHMARK...]]    the build folders; benchmarks: guest_memory split_ring
set -euo pipefail
mmap=$1 xen=$2 rounds=${3:-10}
shift $(($# < 3 ? $# : 3))
[ $# -gt 0 ] || set -- guest_memory split_ring
bar=1.02
for bench in "$@"; do
  for ((i = 0; i < rounds; i++)); do
    # Who comes first changes.
    order=(mmap xen)
    ((i % 2)) || order=(xen mmap)
    for build in "${order[@]}"; do
      "${!build}/bin/bench_$bench" 2>/dev/null | sed "s/^/$build /"
    done
  done | awk -v bar=$bar -v bench="$bench" '
    { build = $1; line = $0; sub(/^[a-z]+ /, "", line); name = substr(line, 1, 44); sub(/ +$/, "", name); ns = substr(line, 45, 11) + 0 }
    ns > 0 { if (!((build, name) in least)) order[build, count[build]++] = name; if (!((build, name) in least) || ns < least[build, name]) least[build, name] = ns }
    END {
      for (i = 0; i < count["mmap"]; i++) {
        name = order["mmap", i]
        if (!(("xen", name) in least)) continue
        ratio = least["xen", name] / least["mmap", name]
        sum += log(ratio); n++
        printf "%-44s mmap %9.2f ns   xen %9.2f ns   %5.3f\n", name, least["mmap", name], least["xen", name], ratio
      }
      if (n == 0) exit 1
      all = exp(sum / n)
      printf "%s, all: %.3f of the mmap build (bar %.2f) %s\n", bench, all, bar, all <= bar ? "held" : "short"
      exit all > bar
    }' || failed=1
done
exit ${failed:-0}
