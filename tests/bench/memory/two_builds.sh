#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What the xen build's access guard costs where nothing is mapped on demand: the same benchmark of two builds, side by side in many short turns, each run a
# process of its own, since where its pages lie changes more than the guard. A turn runs one, twice the other, and the one again, so that neither what
# drifts nor who comes second counts. An operation's figure is the median of the turns' ratios.
# usage: two_builds.sh MMAP-BUILD XEN-BUILD [TURNS [BENCHMARK...]]    the build folders; benchmarks: guest_memory split_ring
set -euo pipefail
mmap=$1 xen=$2 turns=${3:-25}
shift $(($# < 3 ? $# : 3))
[ $# -gt 0 ] || set -- guest_memory split_ring
bar=1.02
for bench in "$@"; do
  for ((i = 0; i < turns; i++)); do
    for build in mmap xen xen mmap; do
      "${!build}/bin/bench_$bench" --benchmark_repetitions=1 --benchmark_min_time=0.02 2>/dev/null | sed "s/^/$build /"
    done
  done | awk -v bar=$bar -v bench="$bench" '
    function median(list, values, count, i, j, value) {
      count = split(list, values, " ")
      for (i = 2; i <= count; i++) {
        value = values[i] + 0
        for (j = i - 1; j > 0 && values[j] + 0 > value; j--) values[j + 1] = values[j]
        values[j + 1] = value
      }
      return values[int((count + 1) / 2)]
    }
    { build = $1; line = $0; sub(/^[a-z]+ /, "", line); name = substr(line, 1, 44); sub(/ +$/, "", name); ns = substr(line, 45, 11) + 0 }
    ns > 0 {
      if (!(name in ratios)) { order[count++] = name; ratios[name] = "" }
      sum[name, build] += ns
      if (++runs[name] % 4 == 0) {
        ratios[name] = ratios[name] " " sum[name, "xen"] / sum[name, "mmap"]
        sum[name, "xen"] = sum[name, "mmap"] = 0
      }
    }
    END {
      for (i = 0; i < count; i++) {
        name = order[i]
        ratio = median(ratios[name])
        all += log(ratio)
        printf "%-44s xen %5.3f of mmap\n", name, ratio
      }
      if (count == 0) exit 1
      all = exp(all / count)
      printf "%s, all: %.3f of the mmap build (bar %.2f) %s\n", bench, all, bar, all <= bar ? "held" : "short"
      exit all > bar
    }' || failed=1
done
exit ${failed:-0}
