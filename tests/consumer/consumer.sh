#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Installs a build into a fresh folder and consumes it twice: through find_package, and through pkg-config.
#
# usage: consumer.sh BUILD-FOLDER COMPILER     77: built, but no usable /dev/kvm to run on
set -euo pipefail
build=$1 compiler=$2
source=$(cd "$(dirname "$0")/project" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/installed" >"$work/install.log" || { cat "$work/install.log"; exit 1; }

cmake -G Ninja -S "$source" -B "$work/cmake" -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$work/installed" \
  >"$work/configure.log" 2>&1 || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/cmake"

packages=$(dirname "$(find "$work/installed" -name trivet-kvm.pc)")
# shellcheck disable=SC2046 # the flags are words
"$compiler" -std=c++20 "$source/main.cpp" -o "$work/by-pkg-config" \
  $(PKG_CONFIG_PATH=$packages pkg-config --define-variable=prefix="$work/installed" --cflags --libs trivet-kvm)

echo "main.cpp: $(wc -l <"$source/main.cpp") lines"
if ! [ -r /dev/kvm ] || ! [ -w /dev/kvm ]; then
  echo "consumed, not run: no /dev/kvm that this user may open"
  exit 77
fi
"$work/cmake/consumer"
"$work/by-pkg-config"
