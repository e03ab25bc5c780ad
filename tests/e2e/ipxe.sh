#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# iPXE, as Debian packages it, on our network device: SeaBIOS and GRUB start it from our disk; it asks for its address by DHCP, fetches a file, then Linux and
# its initial RAM disk over HTTP with its own virtio-net driver, and boots them; Linux uses the same device then.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest
cat >"$out/script" <<'SCRIPT'
#!ipxe
echo IPXE-STARTS ${version}
dhcp net0 || goto failed
echo IPXE-ADDRESS ${net0/ip} ${net0/mac} ${net0/chip}
imgfetch --name payload http://10.1.0.1/payload || goto failed
imgstat payload
imgfree payload
kernel http://10.1.0.1/vmlinuz console=ttyS0 panic=1 quiet trivet.net=1.0 trivet.chained=yes || goto failed
initrd http://10.1.0.1/initrd || goto failed
imgstat
echo IPXE-BOOTS
boot || goto failed
:failed
echo IPXE-FAILED ${errno}
SCRIPT
"$e2e_root/scripts/boot-disk" --ipxe "$out/guest" "$out/script" || exit 1
head -c 2000000 /dev/urandom >"$out/payload"
checksum=$(sha256sum <"$out/payload")
E2E_TIMEOUT=${E2E_TIMEOUT:-600}
in_testbed "$out" ipxe.sh || { echo "the testbed failed"; exit 1; }

size() { stat -c %s "$1"; }
log=$out/ipxe.text
check "exit status 0" is "$(cat "$out/ipxe.status")" 0
check "iPXE starts" has 'IPXE-STARTS' "$log"
check "it has the address that the server gave, and the device's own" has 'IPXE-ADDRESS 10.1.0.77 52:54:00:12:34:56 virtio-net' "$log"
check "it did not fail" hasnt 'IPXE-FAILED' "$log"
check "it has all of the file" has "payload.*: 2000000 bytes" "$log"
check "... of the kernel" has "vmlinuz : $(size "$out/guest/vmlinuz") bytes" "$log"
check "... of the initial RAM disk" has "initrd : $(size "$out/guest/initrd") bytes" "$log"
for file in payload vmlinuz initrd; do
  check "the server was asked for $file" has "url:/$file" "$out/server.log"
done
sent_to_it() { [ "$(sed -n 's/^tx_bytes //p' "$out/counters")" -gt $(($(size "$out/guest/vmlinuz") + $(size "$out/guest/initrd") + 2 * 2000000)) ]; }
check "and all that went over the tap" sent_to_it
check "it boots them" has 'IPXE-BOOTS' "$log"
check "Linux reaches /init" has '^TRIVET-INIT' "$log"
check "what Linux downloads" has "^guest: net payload ${checksum%% *}" "$log"
check "what Linux sends" is "$(sha256sum <"$out/sent")" "$checksum"
check "nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic' "$log"
check "nothing on stderr" is "$(cat "$out/ipxe.err")" ""
[ "$failed" = 0 ] || { show "$log" 80; show "$out/server.log"; show "$out/ipxe.debug"; show "$out/ipxe.err"; }
finish
