#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed (or wherever there is /dev/kvm): what is wrong with the input is said in one line that names the thing; no crash; the disk stays as it was.
# usage: bad_input.sh OUT     (OUT/guest holds the guest's files)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
guest=$1/guest
bad=$(mktemp -d /tmp/trivet-bad.XXXXXX)
trap 'rm -rf "$bad"' EXIT
chmod 755 "$bad"

# refuses STATUS NAME PATTERN ARGUMENT...: the program ends with that status and exactly one line on stderr, which matches.
refuses() {
  local expected=$1 name=$2 pattern=$3 status=0
  shift 3
  timeout 30 "$@" </dev/null >"$bad/out" 2>"$bad/err" || status=$?
  if [ $status = "$expected" ] && [ "$(wc -l <"$bad/err")" = 1 ] && has "$pattern" "$bad/err" &&
    hasnt 'terminate called|Assertion|Sanitizer|runtime error' "$bad/err" && [ ! -s "$bad/out" ]; then
    passed=$((passed + 1))
    echo "ok   $name: $(head -n 1 "$bad/err")"
  else
    failed=$((failed + 1))
    echo "FAIL $name: expected status $expected and one line with /$pattern/; got status $status and:"
    head -n 5 "$bad/err" "$bad/out" | cut -c1-300 | sed 's/^/     /'
  fi
}
run() { echo "$TRIVET_BIN" run --hypervisor kvm "${platform_options[@]}" --memory size_mib=128; }
kernel_refused() { refuses 1 "$1" "$2" $(run) --kernel "path=$3"; }

# cut FILE BYTES NAME: the first BYTES of FILE.
cut_file() { head -c "$2" "$1" >"$bad/$3"; }
# patch FILE OFFSET HEX
patch() { printf '%b' "$(sed 's/../\\x&/g' <<<"$3")" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
# patched WHAT NAME OFFSET HEX: the ELF kernel, good but for some bytes, is refused.
patched() {
  cp "$guest/vmlinux" "$bad/$2"
  chmod u+w "$bad/$2"
  patch "$bad/$2" "$3" "$4"
  kernel_refused "$1" "$2" "$bad/$2"
  rm -f "$bad/$2"
}

# Kernels that end too early. 58 MB of ELF: its segments go on to almost the end; the bzImage's header says how long it is.
for bytes in 1 3 63 100 200 4096 2000000 28000000 40000000; do
  cut_file "$guest/vmlinux" $bytes "elf-$bytes"
  kernel_refused "ELF cut at $bytes" "elf-$bytes" "$bad/elf-$bytes"
  rm -f "$bad/elf-$bytes"
done
for bytes in 1 400 520 1000 20000 6000000; do
  cut_file "$guest/vmlinuz" $bytes "bz-$bytes"
  kernel_refused "bzImage cut at $bytes" "bz-$bytes" "$bad/bz-$bytes"
done
: >"$bad/empty"
kernel_refused "an empty kernel" "empty" "$bad/empty"
seq 1 10000 >"$bad/text"
kernel_refused "a text file as kernel" "text" "$bad/text"
kernel_refused "a folder as kernel" "$bad" "$bad"
kernel_refused "a device as kernel" "/dev/zero" /dev/zero
kernel_refused "no such kernel" "$bad/none" "$bad/none"

# Hostile ELF headers. The program headers start at 64, 56 bytes each: p_type 0, p_offset 8, p_vaddr 16, p_paddr 24, p_filesz 32, p_memsz 40.
patched "ELF with no program headers" elf-phnum 56 0000
patched "ELF with program headers beyond the end" elf-phoff 32 f8ffffffffffffff
patched "ELF with program headers of no size" elf-phentsize 54 0000
patched "ELF with a segment that wraps around" elf-offset 72 00f0ffffffffffff
patched "ELF with a segment outside memory" elf-paddr 88 0000000000000080
patched "ELF with an endless segment" elf-memsz 104 ffffffffffffffff
patched "ELF for another machine" elf-machine 18 b700
patched "ELF that says 32 bits" elf-class 4 01
cp "$guest/vmlinuz" "$bad/bz-old" && chmod u+w "$bad/bz-old" && patch "$bad/bz-old" 518 0001
kernel_refused "bzImage with a boot protocol too old" "bz-old" "$bad/bz-old"

# Firmware that is none.
refuses 1 "no such firmware" "$bad/none" $(run) --firmware "path=$bad/none"
refuses 1 "empty firmware" "empty" $(run) --firmware "path=$bad/empty"
refuses 1 "a folder as firmware" "$bad" $(run) --firmware "path=$bad"
cut_file "$guest/vmlinux" 5000 odd.rom
refuses 1 "firmware that is not whole pages" "odd.rom.*4096" $(run) --firmware "path=$bad/odd.rom"
truncate -s 17M "$bad/large.rom"
refuses 1 "firmware beyond 16 MiB" "large.rom.*16 MiB" $(run) --firmware "path=$bad/large.rom"
refuses 2 "firmware and a kernel" "firmware and kernel" $(run) --firmware "path=$bad/odd.rom" --kernel "path=$guest/vmlinux"
refuses 2 "firmware without a path" "firmware path" $(run) --firmware debug=off
refuses 1 "a debug port to a file that cannot be" "--firmware debug.*$bad/none/debug" $(run) --firmware "path=/usr/share/seabios/bios.bin,debug=$bad/none/debug"

# Things that do not fit or are not there.
good=path=$guest/vmlinux
truncate -s 200M "$bad/big"
refuses 1 "an initrd larger than memory" "big|initrd" $(run) --kernel "$good,initrd=$bad/big"
refuses 1 "no such initrd" "$bad/none" $(run) --kernel "$good,initrd=$bad/none"
refuses 1 "a command line too long" "command line|cmdline" $(run) --kernel "$good,cmdline=$(printf 'a%.0s' {1..5000})"
refuses 1 "a control character in the command line" "command line|cmdline" $(run) --kernel "$good,cmdline=a"$'\x01'"b"
cut_file "$guest/disk.img" 1000001 odd.img
refuses 1 "a disk not a multiple of 512" "odd.img" $(run) --kernel "$good" --block "path=$bad/odd.img"
refuses 1 "no such disk" "$bad/none" $(run) --kernel "$good" --block "path=$bad/none"
refuses 1 "a folder as disk" "$bad" $(run) --kernel "$good" --block "path=$bad"
refuses 1 "a port's socket where none can be" "$bad/none/port" $(run) --kernel "$good" --port "socket=$bad/none/port"
refuses 1 "no such tap" "no interface trivet0" $(run) --kernel "$good" --net tap=trivet0
refuses 1 "an interface that is no tap" "lo is no tap" $(run) --kernel "$good" --net tap=lo
refuses 1 "a descriptor that is not open" "net.*200" $(run) --kernel "$good" --net fd=200

refuses 1 "a vsock socket in a folder that is not there" "--vsock.*$bad/none/v" $(run) --kernel "$good" --vsock "path=$bad/none/v"
: >"$bad/taken"
refuses 1 "a file in the vsock socket's way" "$bad/taken is there already" $(run) --kernel "$good" --vsock "path=$bad/taken"
check "and it is left alone" [ -f "$bad/taken" ]

# What is typed wrong, on the command line or in a configuration: exit code 2.
refuses 2 "an unknown option" "nosuch" $(run) --nosuch
refuses 2 "an unknown key" "colour" $(run) --kernel "$good,colour=red"
refuses 2 "an option without its value" "vcpu" "$TRIVET_BIN" run --vcpu
refuses 2 "a number that is none" "banana" $(run) --vcpu num=banana
refuses 2 "a negative number" "num|-1" $(run) --vcpu num=-1
refuses 2 "no vCPUs" "num" $(run) --vcpu num=0
refuses 2 "no memory" "size_mib" "$TRIVET_BIN" run --memory size_mib=0
refuses 2 "memory that no machine has" "size_mib" "$TRIVET_BIN" run --memory size_mib=99999999999999999999
refuses 2 "memory of nothing known" "memory backing" "$TRIVET_BIN" run --memory backing=paper
refuses 1 "huge pages that nobody reserved" "backing=hugetlbfs" "$TRIVET_BIN" run --hypervisor kvm --memory size_mib=64,backing=hugetlbfs
refuses 2 "a CID that is the host's" "vsock cid" $(run) --vsock "cid=2,path=$bad/v"
refuses 2 "a vsock without a path" "vsock path" $(run) --vsock cid=3
refuses 2 "a balloon as large as the memory" "target_mib" "$TRIVET_BIN" run --memory size_mib=64 --balloon target_mib=64
refuses 2 "one disk twice" "disk.img" $(run) --kernel "$good" --block "path=$guest/disk.img" --block "path=$guest/disk.img"
refuses 2 "a disk's rate that is no number" "operations" $(run) --kernel "$good" --block "path=$guest/disk.img,operations=many"
refuses 2 "a disk's rate too large" "block bytes" $(run) --kernel "$good" --block "path=$guest/disk.img,bytes=1099511627777"
refuses 2 "a rate of random bytes too large" "rng bytes" $(run) --kernel "$good" --rng bytes=1099511627777
refuses 2 "a port with nothing behind it" "port socket" $(run) --kernel "$good" --port name=a
refuses 2 "one port's name twice" "'a'.*twice" $(run) --kernel "$good" --port "name=a,socket=$bad/a" --port "name=a,socket=$bad/b"
refuses 2 "an unclosed quote" "quote|\"" $(run) --kernel "$good,cmdline=\"a"
refuses 2 "no such hypervisor" "nosuch" "$TRIVET_BIN" run --hypervisor nosuch
refuses 2 "a network device without its tap" "net tap" $(run) --kernel "$good" --net mtu=1500
refuses 2 "no MAC address" "52:54:00:12:34:5g" $(run) --kernel "$good" --net tap=t,mac=52:54:00:12:34:5g
refuses 2 "an MTU too small" "mtu" $(run) --kernel "$good" --net tap=t,mtu=60
refuses 2 "too many queues" "queues" $(run) --kernel "$good" --net tap=t,queues=99
refuses 2 "a name that no interface can have" "0123456789abcdef" $(run) --kernel "$good" --net tap=0123456789abcdef
refuses 2 "no such command" "frobnicate" "$TRIVET_BIN" frobnicate
refuses 2 "no such configuration" "$bad/none.json" "$TRIVET_BIN" run --config "$bad/none.json"
echo '{"memory": {"size_mib": 1' >"$bad/torn.json"
refuses 2 "a torn configuration" "torn.json" "$TRIVET_BIN" run --config "$bad/torn.json"
echo '{"memory": {"size_mob": 1}}' >"$bad/key.json"
refuses 2 "an unknown key in a configuration" "size_mob" "$TRIVET_BIN" run --config "$bad/key.json"

# No permission.
cp "$guest/vmlinux" "$bad/vmlinux"
if [ "$(id -u)" = 0 ] && [ "$(stat -c %a /dev/kvm)" = 600 ]; then
  refuses 1 "no permission on /dev/kvm" "/dev/kvm.*[Pp]ermission denied" setpriv --reuid=65534 --regid=65534 --clear-groups \
    "$TRIVET_BIN" run --hypervisor kvm --kernel "path=$bad/vmlinux"
  chmod 666 /dev/net/tun  # as udev makes it; then an interface's owner decides
  PATH=$PATH:/usr/sbin:/sbin ip tuntap add dev trivet1 mode tap vnet_hdr user 0
  refuses 1 "no permission on the tap" "trivet1.*CAP_NET_ADMIN" setpriv --reuid=65534 --regid=65534 --clear-groups \
    "$TRIVET_BIN" run --hypervisor kvm --kernel "path=$bad/vmlinux" --net tap=trivet1
  refuses 1 "more queues than the tap has" "trivet1.*multi_queue" $(run) --kernel "$good" --net tap=trivet1,queues=2
fi
chmod 000 "$bad/vmlinux"
[ "$(id -u)" = 0 ] || kernel_refused "no permission on the kernel" "$bad/vmlinux" "$bad/vmlinux"

check "the disk is as it was" cmp "$guest/disk.img" "$1/guest/disk.before"
finish
