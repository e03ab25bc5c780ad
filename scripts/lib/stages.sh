# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The stages of scripts/test, in order; to be sourced by bash after common.sh and style.sh. Each runs in the root with its output in a log.

# What scripts/test and CI run.
stages=(install style build unit headers conformance package docs e2e e2e_slow bars mshv xen asan fuzz tidy coverage tsan)
# What scripts/test --long runs after them.
long_stages=(e2e_long)
jobs=$(nproc)
# Percent of lines, from unit tests alone.
declare -A coverage_bars=([core]=80 [memory]=90 [virtio]=90 [vmm]=80)
fuzz_seconds=${TRIVET_FUZZ_SECONDS:-20}

# What two presets compile alike is compiled once.
export CCACHE_BASEDIR=$trivet_root CCACHE_NOHASHDIR=1

configure_and_build() {
  local preset=$1
  shift
  cmake --preset "$preset" && cmake --build --preset "$preset" --parallel "$jobs" "$@"
}
tests_of() {
  local preset=$1 labels=$2
  shift 2
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -L "$labels" "$@"
}

# Quick checks first.
stage_install() { scripts/install-dependencies test; }
stage_style() { check_style; }
stage_build() { configure_and_build release; }
stage_unit() { tests_of release '^unit$' -j "$jobs"; }
stage_headers() { cmake --build --preset release --parallel "$jobs" --target headers; }
stage_conformance() { tests_of release '^conformance$' --verbose; }
stage_package() { tests_of release '^package$'; }
stage_docs() { scripts/check-docs; }
# Clang with ASan and UBSan: one build for its warnings, the unit tests and the fuzzers. (Preset asan is the same with GCC.)
stage_asan() { configure_and_build fuzz && tests_of fuzz '^unit$' -j "$jobs" && tests_of fuzz '^conformance$'; }
# Threads: the programs that have them.
stage_tsan() { configure_and_build tsan --target units trivet-conformance && tests_of tsan '^unit$' -j "$jobs" && tests_of tsan '^conformance$'; }

# fuzz_one PROGRAM: from its seeds, in a folder of its own, so that the tree stays as it is. A crash's input is kept.
fuzz_one() {
  local name=${1##*/fuzz_} work=build/fuzz/work
  mkdir -p "$work/$name"
  if timeout $((fuzz_seconds * 3 + 60)) "$1" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$work/$name-" "$work/$name" "tests/fuzz/corpus/$name" >"$work/$name.log" 2>&1; then
    echo "fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log") runs, clean"
  else
    echo "fuzz $name FAILED; its input is $work/$name-*:"
    tail -n 30 "$work/$name.log"
    return 1
  fi
}
stage_fuzz() {
  configure_and_build fuzz && tests_of fuzz '^fuzz$' -j "$jobs" || return 1
  export -f fuzz_one
  export fuzz_seconds
  # Only what has a source now: a build folder may hold programs of yesterday. Those of a backend that is not in this build are not there.
  find tests/fuzz -name '*_fuzz.cpp' -printf 'build/fuzz/bin/fuzz_%f\n' | sed 's/_fuzz\.cpp$//' | sort |
    while read -r program; do [ ! -x "$program" ] || echo "$program"; done | xargs -P "$jobs" -I{} bash -c 'fuzz_one {}'
}

stage_coverage() {
  local room failed=0
  configure_and_build coverage --target unit_core unit_memory unit_virtio unit_vmm || return 1
  find build/coverage -name '*.gcda' -delete
  tests_of coverage '^unit$' -R '^unit_(core|memory|virtio|vmm)$' -j "$jobs" || return 1
  # Read once, reported room by room.
  gcovr --root . --object-directory build/coverage --filter '(core|memory|virtio|vmm)/(include|src)/' --exclude-throw-branches \
    --gcov-ignore-parse-errors -j "$jobs" --json build/coverage/lines.json build/coverage || return 1
  for room in core memory virtio vmm; do
    echo "== line coverage of $room from unit tests (bar: ${coverage_bars[$room]} %)"
    gcovr --root . --add-tracefile build/coverage/lines.json --filter "$room/(include|src)/" --fail-under-line "${coverage_bars[$room]}" --print-summary ||
      failed=1
  done
  return $failed
}

stage_tidy() {
  cmake --preset fuzz >/dev/null || return 1
  # Our own sources; generated ones and tests are compiled with every warning anyway.
  sources 'core/*.cpp' 'memory/*.cpp' 'virtio/*.cpp' 'vmm/*.cpp' 'backends/*.cpp' |
    xargs -r -n 4 -P "$jobs" clang-tidy-14 --quiet -p build/fuzz
}

stage_e2e() { cmake --build --preset release --parallel "$jobs" && tests_of release '^(e2e|e2e_virtio)$' --verbose -j "$jobs"; }
stage_e2e_slow() { cmake --build --preset release --parallel "$jobs" && tests_of release '^e2e_slow$' --verbose -j "$jobs"; }
stage_e2e_long() { configure_and_build release && tests_of release '^e2e_long$' --verbose -j "$jobs"; }
# The build with Xen: all but the devices' own tests on KVM again, and on Xen in its testbed; what its memory costs beside the other build's.
stage_xen() {
  configure_and_build release-xen && tests_of release-xen '^(unit|conformance|e2e|e2e_slow)$' --verbose -j "$jobs" &&
    configure_and_build release && tests/bench/memory/two_builds.sh build/release build/release-xen 25 guest_memory
}
# MSHV's instruction emulator against KVM, its speed beside its decoder's, and a guest's run on the simulator beside KVM.
stage_mshv() {
  cmake --build --preset release --parallel "$jobs" &&
    scripts/testbed kvm --timeout 280 -- build/release/bin/trivet-emulator-diff --cases "${TRIVET_EMULATOR_CASES:-40000}" &&
    build/release/bin/bench_emulator && tests/bench/mshv/guest_overhead.sh
}
stage_bars() { TRIVET_BIN=$trivet_root/build/release/bin/trivet tests/e2e/boot_bench.sh --check; }
