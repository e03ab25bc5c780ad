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

# one_cpu: sets the array pinned to the command that keeps a program on one of this machine's CPUs, if possible on one that no other testbed has. The choice
# is held by this shell and its children, until they end.
one_cpu() {
  local first last cpu held cpus=()
  while read -r first last; do
    for ((cpu = first; cpu <= last; cpu++)); do cpus+=("$cpu"); done
  done < <(taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' | awk -F- '{ print $1, $NF }')
  for cpu in "${cpus[@]}"; do
    { exec {held}>"${TMPDIR:-/tmp}/trivet-testbed.cpu$cpu"; } 2>/dev/null || continue
    if flock -n "$held"; then
      pinned=(taskset -c "$cpu")
      return
    fi
    exec {held}>&-
  done
  pinned=(taskset -c "${cpus[RANDOM % ${#cpus[@]}]}")
}
