# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The Linux guest: Debian's cloud kernel in both forms, an initramfs and a disk. Source after common.sh and kernels.sh.

guest_modules=(virtio_mmio virtio_pci virtio_blk virtio-rng virtio_console ext4)
# Loaded only where the command line asks for them (guest-init): each costs every boot time otherwise.
guest_vsock_modules=(vmw_vsock_virtio_transport)
guest_balloon_modules=(virtio_balloon)
guest_net_modules=(virtio_net)
guest_disk_mib=16
# Debian's programs for what takes long (guest-image --tools); fio alone brings 80 MiB of libraries.
guest_programs=(fio iperf3 ethtool)

# make_guest_disk FOLDER: disk.img, the same bytes every time: ext4 with files that do not compress and their checksums.
make_guest_disk() {
  local folder=$1 files=$1/files
  export PATH=$PATH:/usr/sbin:/sbin
  need mke2fs e2fsprogs
  mkdir -p "$files/deep/er"
  seq 1 1100000 | gzip -9n >"$files/payload-1"
  seq 1 3 2000000 | gzip -9n >"$files/deep/er/payload-2"
  seq 1 5000 >"$files/text"
  (cd "$files" && sha256sum payload-1 deep/er/payload-2 text >SHA256SUMS && find . -exec touch -d @0 {} +)
  truncate -s "${guest_disk_mib}M" "$folder/disk.img"
  E2FSPROGS_FAKE_TIME=1 mke2fs -q -t ext4 -L trivet -U 74726976-6574-4000-8000-000000000001 \
    -E hash_seed=74726976-6574-4000-8000-000000000002,lazy_itable_init=0,root_owner=0:0 -d "$files" "$folder/disk.img" || return 1
  rm -rf "$files"
}

# make_guest_peer FILE: one end of a connection, for the guest and for the host.
make_guest_peer() {
  "${CC:-cc}" -static -O2 -Wall -Wextra -s -o "$1" "$trivet_root/scripts/lib/guest-peer.c"
}

make_guest() {
  local kernel=$1 folder=$2 modules
  echo "making the Linux guest's initramfs and disk ..."
  modules=$(echo "$kernel"/lib/modules/*)
  mkdir "$folder/tree"
  add_busybox "$folder/tree"
  cp "$trivet_root/scripts/lib/guest-init" "$folder/tree/init"
  chmod 755 "$folder/tree/init"
  add_modules "$modules" "$folder/tree/modules" "${guest_modules[@]}" || return 1
  add_modules "$modules" "$folder/tree/modules/vsock" "${guest_vsock_modules[@]}" || return 1
  add_modules "$modules" "$folder/tree/modules/balloon" "${guest_balloon_modules[@]}" || return 1
  add_modules "$modules" "$folder/tree/modules/net" "${guest_net_modules[@]}" || return 1
  make_guest_peer "$folder/tree/bin/guest-peer" || return 1
  pack_initramfs "$folder/tree" "$folder/initrd" || return 1
  rm -rf "$folder/tree"
  cp "$(kernel_image "$kernel")" "$folder/vmlinuz"
  extract_elf "$folder/vmlinuz" "$folder/vmlinux" || return 1
  make_guest_disk "$folder" || return 1
  make_guest_peer "$folder/guest-peer" || return 1
  chmod 444 "$folder"/*
  chmod 555 "$folder/guest-peer"
}

# prepare_guest: prints the folder with vmlinuz, vmlinux, initrd, disk.img and guest-peer.
prepare_guest() {
  local kernel
  kernel=$(kernel_folder cloud-amd64) || return
  need cpio cpio && need xz xz-utils && need zstd zstd && need "${CC:-cc}" gcc
  in_cache "guest/${kernel##*/}-$(digest "$trivet_root"/scripts/lib/{guest-init,guest-peer.c,guest.sh,kernels.sh})" make_guest "$kernel" ||
    die 125 "could not make the Linux guest"
}

# with_libraries PROGRAM...: prints the files of these programs: they, their libraries and the loader.
with_libraries() {
  local program
  for program in "$@"; do
    program=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program") || return 1
    echo "$program"
    ldd "$program" | grep -oE '/[^ ]+'
  done | sort -u
}

# make_guest_tools FILE... FOLDER: tools.cpio, the files under their own names.
make_guest_tools() {
  local folder=${*: -1} files=("${@:1:$#-1}") file
  echo "packing the guest's tools ..."
  for file in "${files[@]}"; do
    mkdir -p "$folder/tree${file%/*}"
    cp -L "$file" "$folder/tree$file" || return 1
  done
  pack_initramfs "$folder/tree" "$folder/tools.cpio" || return 1
  rm -rf "$folder/tree"
  chmod 444 "$folder/tools.cpio"
}

# prepare_guest_tools: prints the folder with tools.cpio, which Linux unpacks when it follows another initramfs.
prepare_guest_tools() {
  local program files
  for program in "${guest_programs[@]}"; do need "$program" "$program"; done
  mapfile -t files < <(with_libraries "${guest_programs[@]}")
  in_cache "guest/tools-$(digest "${files[@]}" "$trivet_root/scripts/lib/guest.sh")" make_guest_tools "${files[@]}" ||
    die 125 "could not pack the guest's tools"
}

# pack_guest_scripts OUTPUT: an initramfs with what tests do in the guest, for trivet.script=NAME.
pack_guest_scripts() (
  tree=$(mktemp -d)
  trap 'rm -rf "$tree"' EXIT
  mkdir "$tree/scripts"
  cp "$trivet_root"/tests/e2e/guest/*.sh "$tree/scripts/"
  pack_initramfs "$tree" "$1"
)
