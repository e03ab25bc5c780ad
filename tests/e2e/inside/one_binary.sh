#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In either testbed: the backends that the program finds and a run of its built-in guest on the one it takes. In the KVM testbed Xen's libraries are
# hidden first.     usage: one_binary.sh OUT
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
out=$1
ldd "$TRIVET_BIN" >"$out/libraries"
if [ "$E2E_HYPERVISOR" = kvm ]; then
  folder=$(dirname "$(find /usr/lib -name 'libxenctrl.so.*' -print -quit)")
  mkdir -p /run/hidden/upper /run/hidden/work
  # An overlay's way to say that a file is not there.
  for library in "$folder"/libxen*; do mknod "/run/hidden/upper/${library##*/}" c 0 0; done
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=/run/hidden/upper,workdir=/run/hidden/work" "$folder" || exit 1
  timeout 30 "$TRIVET_BIN" run --hypervisor xen </dev/null >/dev/null 2>"$out/kvm.refused"
fi
timeout 30 "$TRIVET_BIN" backends >"$out/$E2E_HYPERVISOR.backends" 2>&1
timeout 60 "$TRIVET_BIN" run --hypervisor auto --memory size_mib=64 </dev/null >"$out/$E2E_HYPERVISOR.log" 2>&1
echo $? >"$out/$E2E_HYPERVISOR.status"
