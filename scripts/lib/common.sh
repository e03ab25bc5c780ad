# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Shared by Trivet's scripts; to be sourced by bash. Says what failed in one line, and keeps what is expensive in a cache.

trivet_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
trivet_cache=${TRIVET_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/trivet}

# die STATUS MESSAGE...: one clear line on stderr, and out.
die() {
  local status=$1
  shift
  echo "${0##*/}: $*" >&2
  exit "$status"
}

# need COMMAND PACKAGE: the tool is there, or the line says which package has it.
need() {
  command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] ||
    die 125 "needs $1: install package $2 (scripts/install-dependencies does)"
}

# as_root COMMAND...: for the few steps that change the machine.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# in_cache NAME BUILDER ARGUMENT...: prints the cached entry NAME, made first if it is not there. BUILDER is called with a new
# folder as its last argument and fills it; it becomes the entry in one rename, so that a torn build never counts.
in_cache() (
  name=$1
  shift
  entry=$trivet_cache/$name
  if [ ! -d "$entry" ]; then
    mkdir -p "$(dirname "$entry")"
    exec 8>"$trivet_cache/lock"
    flock 8
    if [ ! -d "$entry" ]; then
      making=$(mktemp -d "$trivet_cache/making.XXXXXX")
      trap 'rm -rf "$making"' EXIT
      chmod 755 "$making"
      "$@" "$making" >&2 8>&- || exit 1
      mv "$making" "$entry"
      trap - EXIT
    fi
  fi
  echo "$entry"
)

# digest FILE...: a short name for the content of files (the key under which what is built from them is cached).
digest() {
  cat "$@" | sha256sum | cut -c1-16
}
