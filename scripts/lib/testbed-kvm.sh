# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The KVM testbed: Debian's full kernel in an emulated AMD machine with SVM. Source after common.sh, kernels.sh and testbed.sh.

make_kvm_host() {
  local kernel=$1 folder=$2
  testbed_tree kvm "$kernel" "$folder/tree" kvm-amd tun || return 1
  pack_initramfs "$folder/tree" "$folder/initrd" || return 1
  rm -rf "$folder/tree"
  extract_elf "$(kernel_image "$kernel")" "$folder/vmlinux"
}

# prepare_kvm: prints the folder with the testbed's vmlinux and initrd.
prepare_kvm() {
  local kernel
  kernel=$(kernel_folder amd64) || return
  need cpio cpio && need xz xz-utils && need zstd zstd
  in_cache "testbed/${kernel##*/}-$(digest "$trivet_root"/scripts/lib/{testbed-init,testbed-init-kvm,testbed.sh,testbed-kvm.sh,kernels.sh})" \
    make_kvm_host "$kernel" || die 125 "could not make the testbed's initramfs"
}

make_tsc_khz() {
  "${CC:-cc}" -O2 -o "$1/tsc-khz" "$trivet_root/scripts/lib/tsc-khz.c"
}

# tsc_khz: the frequency of the time stamp counter, which is this machine's. Linux in the testbed would calibrate it; on a machine that is busy at
# that moment it finds a third of it, and its clock, and each guest's, then runs three times as fast as time.
# Where time is instructions (icount), it counts nanoseconds.
tsc_khz() {
  local folder
  if [ -n "${icount:-}" ]; then echo 1000000; return; fi
  folder=$(in_cache "testbed/tsc-khz-$(digest "$trivet_root/scripts/lib/tsc-khz.c")" make_tsc_khz) && "$folder/tsc-khz"
}

# kvm_machine FOLDER LINE MEMORY: prints QEMU's options for the machine, one a line. SVM with nested paging is what makes KVM real in it.
kvm_machine() {
  printf '%s\n' -M pc,usb=off,i8042=off,vmport=off,smm=off -cpu EPYC,+svm,+npt -m "${3:-2048}" -kernel "$1/vmlinux" -initrd "$1/initrd" \
    -append "console=ttyS0 tsc_early_khz=$(tsc_khz) $2"
}

# kvm_path: what goes before PATH in the testbed.
kvm_path() { :; }
