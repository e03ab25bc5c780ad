# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What the testbeds share. Source after common.sh and kernels.sh.

# testbed_tree KIND KERNEL FOLDER MODULE...: what the initramfs of any testbed has: busybox, init, init's part for that kind, modules.
testbed_tree() {
  local kind=$1 kernel=$2 folder=$3
  shift 3
  echo "making the testbed's initramfs ..."
  mkdir "$folder"
  add_busybox "$folder"
  cp "$trivet_root/scripts/lib/testbed-init" "$folder/init"
  cp "$trivet_root/scripts/lib/testbed-init-$kind" "$folder/kind"
  chmod 755 "$folder/init"
  add_modules "$(echo "$kernel"/lib/modules/*)" "$folder/modules" virtio_pci virtio_console 9pnet_virtio 9p overlay "$@"
}
