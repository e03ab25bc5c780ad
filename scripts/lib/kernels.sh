# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Debian's kernels for testbeds and guests: fetched and unpacked in the cache, never installed. Source after common.sh.

kernel_series=${TRIVET_KERNEL_SERIES:-6.12}

# kernel_package FLAVOUR: the package that the meta-package names now ("amd64" or "cloud-amd64"); empty if apt knows none.
kernel_package() {
  apt-cache depends "linux-image-$kernel_series-$1" 2>/dev/null | sed -n 's/^ *Depends: *\(linux-image-.*\)$/\1/p' | head -n 1
}

# unpack_package PACKAGE FOLDER: never installed. apt checks what it fetches against its signed lists.
unpack_package() {
  local package=$1 folder=$2
  echo "fetching $package ..."
  (
    mkdir "$folder/deb" && chmod 777 "$folder/deb" && cd "$folder/deb"
    apt-get -qq download "$package" 2>/dev/null || { as_root apt-get -qq update && apt-get -qq download "$package"; }
    dpkg-deb -x ./*.deb "$folder"
  ) || return 1
  rm -rf "${folder:?}/deb"
}

# fetch_package PACKAGE FOLDER: unpacked, without its documentation.
fetch_package() {
  unpack_package "$1" "$2" || return 1
  rm -rf "${2:?}/usr"
}

# kernel_folder FLAVOUR: the unpacked package: boot/vmlinuz-VERSION, lib/modules/VERSION.
kernel_folder() {
  local package
  need apt-get apt && need dpkg-deb dpkg
  package=$(kernel_package "$1")
  if [ -z "$package" ]; then
    as_root apt-get -qq update >&2 || true
    package=$(kernel_package "$1")
  fi
  [ -n "$package" ] || die 125 "apt knows no package linux-image-$kernel_series-$1 (is bookworm-security among the sources?)"
  in_cache "kernels/$package" fetch_package "$package" || die 125 "could not fetch $package"
}

# kernel_image FOLDER: the bzImage in an unpacked package.
kernel_image() {
  echo "$1"/boot/vmlinuz-*
}

# byte_offsets FILE HEX-ESCAPE: decimal offsets of a byte string, e.g. '\x28\xb5\x2f\xfd'.
byte_offsets() {
  LC_ALL=C grep -obUaP "$2" "$1" | cut -d: -f1
}

# extract_elf BZIMAGE OUTPUT: the ELF kernel inside, found by the magic of its compression. Trailing bytes after the payload are normal,
# so that only the result is judged, not the decompressor's status.
extract_elf() {
  local image=$1 output=$2 magic tool offset
  while read -r magic tool; do
    for offset in $(byte_offsets "$image" "$magic"); do
      # shellcheck disable=SC2086 # the tool is a command with options
      tail -c +$((offset + 1)) "$image" | $tool 2>/dev/null >"$output" || true
      [ "$(head -c 4 "$output" | od -An -tx1 | tr -d ' \n')" = 7f454c46 ] && return 0
    done
  done <<'FORMATS'
\x28\xb5\x2f\xfd zstd -q -d -c
\xfd7zXZ\x00 xz -d -c --single-stream
\x1f\x8b\x08 gzip -d -c
\x02\x21\x4c\x18 lz4 -d -c
FORMATS
  rm -f "$output"
  echo "no compressed ELF kernel found in $image" >&2
  return 1
}

# module_file MODULES NAME: the file of a module ('-' and '_' are the same), empty if there is none.
module_file() {
  find "$1/kernel" -name "${2//[-_]/[-_]}.ko*" | head -n 1
}

# module_wants FILE: what a module needs loaded before it, from its own .modinfo (the package has no modules.dep: depmod makes it
# when a kernel is installed).
module_wants() {
  xz -d -c "$1" | LC_ALL=C grep -azE '^(depends=|softdep=pre: )' | tr '\0' '\n' |
    LC_ALL=C sed -E 's/^depends=//; s/^softdep=pre: //; s/ post:.*//; s/[ ,]+/\n/g'
}

# add_modules MODULES FOLDER NAME...: unpacks modules and all that they need into FOLDER, and appends their file names to FOLDER/order in the
# order to load them. A name that is built in needs nothing; one that does not exist is an error.
add_modules() {
  local modules=$1 folder=$2 name file wanted
  shift 2
  mkdir -p "$folder"
  for name in "$@"; do
    name=${name//-/_}
    grep -qsx "$name.ko" "$folder/order" && continue
    file=$(module_file "$modules" "$name")
    if [ -z "$file" ]; then
      grep -q "/${name//_/[-_]}\.ko$" "$modules/modules.builtin" && continue
      echo "no module $name in $modules" >&2
      return 1
    fi
    for wanted in $(module_wants "$file"); do
      # A soft dependency may name an alias (crypto-...) or something built in: what has no file is skipped.
      [ -z "$(module_file "$modules" "$wanted")" ] || add_modules "$modules" "$folder" "$wanted" || return 1
    done
    case $file in
      *.xz) xz -d -c "$file" >"$folder/$name.ko" ;;
      *.zst) zstd -q -d -c "$file" >"$folder/$name.ko" ;;
      *) cp "$file" "$folder/$name.ko" ;;
    esac || return 1
    # Without its signature: checking it takes as long as loading, in an emulated CPU.
    strip --strip-debug "$folder/$name.ko" || return 1
    echo "$name.ko" >>"$folder/order"
  done
}

# pack_initramfs FOLDER OUTPUT: an uncompressed cpio (nothing to decompress at boot), the same bytes for the same content.
pack_initramfs() {
  (cd "$1" && find . -exec touch -h -d @0 {} + && find . | LC_ALL=C sort |
    cpio --quiet -o -H newc --reproducible --owner=0:0) >"$2"
}

# add_busybox FOLDER: the static busybox and the names its scripts use.
add_busybox() {
  need busybox busybox-static
  mkdir -p "$1"/{bin,dev,proc,sys,tmp,run,mnt}
  cp "$(command -v busybox)" "$1/bin/busybox"
  ln -s busybox "$1/bin/sh"
}
