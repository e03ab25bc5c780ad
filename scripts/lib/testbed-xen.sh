# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The Xen testbed: Debian's Xen, and Debian's full kernel as dom0, in an emulated AMD machine. Source after common.sh, kernels.sh and testbed.sh.

xen_series=${TRIVET_XEN_SERIES:-4.17}

# xen_folder: the hypervisor's unpacked package: boot/xen-SERIES-amd64.gz.
xen_folder() {
  local package=xen-hypervisor-$xen_series-amd64 version
  need apt-get apt && need dpkg-deb dpkg
  version=$(apt-cache policy "$package" 2>/dev/null | sed -n 's/^ *Candidate: *//p')
  [ -n "$version" ] && [ "$version" != '(none)' ] || die 125 "apt knows no package $package"
  in_cache "xen/${package}_$version" fetch_package "$package=$version" || die 125 "could not fetch $package $version"
}

make_xen_host() {
  local kernel=$1 xen=$2 folder=$3
  testbed_tree xen "$kernel" "$folder/tree" xen-privcmd xen-evtchn xen-gntdev xen-gntalloc xenfs tun || return 1
  "${CC:-cc}" -O2 -static -o "$folder/tree/bin/domains" "$trivet_root/scripts/lib/testbed-domains.c" \
    -lxenctrl -lxencall -lxenforeignmemory -lxendevicemodel -lxentoollog -lxentoolcore || return 1
  pack_initramfs "$folder/tree" "$folder/initrd" || return 1
  rm -rf "$folder/tree"
  gzip -d -c "$xen/boot/xen-$xen_series-amd64.gz" >"$folder/xen" || return 1
  extract_elf "$(kernel_image "$kernel")" "$folder/vmlinux"
}

# prepare_xen: prints the folder with the testbed's xen, vmlinux and initrd.
prepare_xen() {
  local kernel xen
  [[ $trivet_cache != *,* ]] || die 125 "no comma in the path of the cache, please: $trivet_cache"
  kernel=$(kernel_folder amd64) || return
  xen=$(xen_folder) || return
  need cpio cpio && need xz xz-utils && need zstd zstd && need cc gcc
  [ -f /usr/include/xenctrl.h ] || die 125 "needs xenctrl.h: install package libxen-dev (scripts/install-dependencies does)"
  in_cache "testbed/${xen##*/}-${kernel##*/}-$(digest \
    "$trivet_root"/scripts/lib/{testbed-init,testbed-init-xen,testbed-domains.c,testbed.sh,testbed-xen.sh,kernels.sh})" \
    make_xen_host "$kernel" "$xen" || die 125 "could not make the testbed's initramfs"
}

# xen_machine FOLDER LINE MEMORY: prints QEMU's options for the machine, one a line. Emulated, Xen needs each: SMAP and SMEP fault in its bounce frame, and so
# does MWAIT (cpuidle, monitor).
xen_machine() {
  local dom0="console=hvc0 $2"
  printf '%s\n' -M pc,usb=off,vmport=off -cpu EPYC,+svm,+npt,-monitor -m "${3:-3072}" -kernel "$1/xen" -initrd "$1/vmlinux ${dom0//,/,,},$1/initrd" -append \
    "console=com1 dom0_mem=1024M,max:1024M loglvl=warning guest_loglvl=warning smap=0 smep=0 spec-ctrl=no,eager-fpu cpuidle=0 no-real-mode edd=off"
}

# xen_path: what goes before PATH in the testbed: its own tools, and Xen's without their wrapper.
xen_path() {
  local folder
  printf '/run/trivet:'
  for folder in /usr/lib/xen-"$xen_series"/bin; do [ ! -d "$folder" ] || printf '%s:' "$folder"; done
}
