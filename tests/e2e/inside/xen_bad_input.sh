#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the Xen testbed with xl's daemons: what is wrong with a domain is said in one line that names it; device models share a domain, up to Xen's limit; a
# domain that goes in the middle ends who served it.     usage: xen_bad_input.sh OUT     (OUT/guest holds the guest's files)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
guest=$1/guest
for i in 1 2 3 4 5 6 7 8 9; do
  cp "$guest/disk.img" "/tmp/disk$i.img" && chmod u+w "/tmp/disk$i.img"
done

# refuses STATUS NAME PATTERN COMMAND...: ends with that status and exactly one line on stderr, which matches.
refuses() {
  local expected=$1 name=$2 pattern=$3 status=0
  shift 3
  timeout 60 "$@" </dev/null >/tmp/refused.out 2>/tmp/refused.err || status=$?
  if [ $status = "$expected" ] && [ "$(wc -l </tmp/refused.err)" = 1 ] && has "$pattern" /tmp/refused.err &&
    hasnt 'terminate called|Assertion|Sanitizer|runtime error' /tmp/refused.err; then
    passed=$((passed + 1))
    echo "ok   $name: $(head -n 1 /tmp/refused.err)"
  else
    failed=$((failed + 1))
    echo "FAIL $name: expected status $expected and one line with /$pattern/; got status $status and:"
    head -n 5 /tmp/refused.err /tmp/refused.out | cut -c1-300 | sed 's/^/     /'
  fi
}
dm() { echo "$TRIVET_BIN" dm --domid; }
run() { echo "$TRIVET_BIN" run --hypervisor xen; }
# make DO: a guest that xl made, paused; sets domid.
make() {
  cat >/tmp/linux.cfg <<CONFIG
type = "pvh"
name = "linux"
kernel = "$guest/vmlinux"
ramdisk = "$guest/initrd"
cmdline = "console=hvc0 panic=1 quiet trivet.do=$1"
memory = 192
vcpus = 1
tsc_mode = "native"
on_reboot = "destroy"
on_crash = "destroy"
CONFIG
  : >/var/log/xen/console/guest-linux.log
  xl create -p /tmp/linux.cfg >/tmp/xl.log 2>&1 || { cat /tmp/xl.log; exit 1; }
  domid=$(xl domid linux)
}
# serve NUMBER [OPTION...]: a device model in the background, ready; sets models.
models=()
serve() {
  local number=$1
  shift
  $(dm) "$domid" --first-device $((number * 3)) --block "path=/tmp/disk$number.img" "$@" </dev/null >"/tmp/dm$number.out" 2>"/tmp/dm$number.err" &
  models+=($!)
  wait_for '^ready' "/tmp/dm$number.out" 60
}
gone() { ! xl domid linux >/dev/null 2>&1; }
# ends PID SECONDS: sets status.
ends() {
  local deadline=$((SECONDS + $2))
  while kill -0 "$1" 2>/dev/null; do
    [ $SECONDS -lt $deadline ] || { status=running; return; }
    sleep 0.2
  done
  wait "$1"
  status=$?
}
alone() { [ "$(xl list | tail -n +2 | wc -l)" = 1 ]; }
alone_soon() { for ((i = 0; i < 25; i++)); do alone && return; sleep 0.2; done; return 1; }

refuses 1 "a domain that does not exist" "domain 4242 does not exist" $(dm) 4242 --rng
refuses 2 "dom0 itself" "domid.*'0'" $(dm) 0 --rng
refuses 2 "Xen's number for oneself" "domid takes a number from 1 to 32751, not '32752'" $(dm) 32752 --rng
refuses 2 "a domid beyond 16 bits" "domid takes a number from 1 to 32751, not '65537'" $(dm) 65537 --rng
refuses 2 "a negative domid" "domid takes a number from 1 to 32751, not '-1'" $(dm) -1 --rng
# Where anybody may read it: the tree may lie in a folder that is somebody's own.
mkdir -p /tmp/anybody/bin
cp "$TRIVET_BIN" /tmp/anybody/bin/
cp -r "${TRIVET_BIN%/*}/../lib" /tmp/anybody/
chmod -R a+rX /tmp/anybody
refuses 1 "a user who may not" "/dev/xen/privcmd: only root may" setpriv --reuid 65534 --regid 65534 --clear-groups /tmp/anybody/bin/trivet dm --domid 4242 --rng
refuses 2 "a domid that is none" "domid.*'linux'" $(dm) linux --rng
refuses 2 "no domid" "domid is missing" "$TRIVET_BIN" dm --rng
refuses 2 "an option of another command" "dm has no option --kernel" $(dm) 1 --kernel path=/none
refuses 2 "sockets" "dm has no --vsock: .*xenstored" $(dm) 1 --vsock path=/tmp/v
refuses 2 "a balloon" "dm has no --balloon: .*xl mem-set" $(dm) 1 --balloon target_mib=1
refuses 1 "no device" "give it a device" $(dm) 1
refuses 1 "no such disk" "/tmp/none" $(dm) 4242 --block path=/tmp/none
refuses 1 "more memory than Xen has" "MiB free" $(run) --memory size_mib=65536
refuses 1 "more vCPUs than Xen has" "vcpu num=200: xen takes at most" $(run) --vcpu num=200
refuses 1 "lines where a domain has none" "virtio=mmio.*xen has no interrupt_ends" $(run) --platform irqchip=split,virtio=mmio

make idle
for number in 1 2 3 4 5 6 7 8; do check "device model $number of 8 is ready" serve $number; done
refuses 1 "the ninth device model" "domain $domid has 8 already" $(dm) "$domid" --first-device 27 --block path=/tmp/disk9.img
xl unpause linux
check "a guest with 8 device models reaches its end" wait_for 'TRIVET-DONE idle' /var/log/xen/console/guest-linux.log 150
check "it has a disk of each" is "$(grep -c 'guest: interrupt .*virtio[0-9]*-config' /var/log/xen/console/guest-linux.log)" 8
kill -TERM "${models[0]}"
ends "${models[0]}" 10
check "SIGTERM ends one: exit status 143" is $status 143
models=("${models[@]:1}")
check "its place is free again" serve 1
xl destroy linux
good=0
for model in "${models[@]}"; do
  ends "$model" 15
  [ "$status" != 0 ] || good=$((good + 1))
done
check "a domain that is destroyed ends all of its device models, well" is $good 8
check "none of them complained" is "$(cat /tmp/dm*.err)" ""
check "nothing is left of the domain" alone_soon

# own: a guest of our own, running; sets ours.
own() {
  : >/tmp/run.out
  $(run) --memory size_mib=192 --kernel "path=$guest/vmlinux,initrd=$guest/initrd,cmdline=\"console=ttyS0 trivet.do=idle\"" --platform irqchip=split \
    </dev/null >>/tmp/run.out 2>/tmp/run.err &
  ours=$!
  wait_for . /tmp/run.out 60
}
own
refuses 1 "a domain of trivet run's" "domain [0-9]+ was made by Trivet's process $ours" $(dm) "$(domains | awk '/54726976/ { print $2 }')" --rng
domains --destroy 54726976 >/dev/null
ends $ours 20
check "a domain that goes in the middle: exit status 1" is $status 1
check "... and one line that says so" has '^trivet: .*domain [0-9]+ was destroyed by somebody else' /tmp/run.err
own
kill -KILL $ours
wait $ours 2>/dev/null
domains >/tmp/domains
check "a killed maker leaves its domain" has 54726976 /tmp/domains
check "trivet-xen-reap destroys it" "${TRIVET_BIN%/*}/trivet-xen-reap"
check "nothing is left" alone_soon
finish
