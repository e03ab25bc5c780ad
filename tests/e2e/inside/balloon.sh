#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# In the testbed: a guest with a balloon that is inflated and deflated, one that takes back what it is short of, and one that reports its free pages.
# usage: balloon.sh OUT PROGRAM USED_MIB TARGET_MIB     (OUT/guest holds the guest's files)
set -uo pipefail
. "$(dirname "$0")/../lib.sh"
out=$1 program=$2 used=$3 target=$4
# play RUN WORDS OPTION...: WORDS of the kernel's command line.
play() {
  local run=$1 words=$2 started=$EPOCHREALTIME
  shift 2
  linux_command "$out/guest/vmlinux" "$out/guest/initrd" "quiet trivet.balloon=$used $words trivet.do=idle" --serial "input=off,output=/tmp/$run.log" --balloon "$@"
  # The same options for a machine inside that program.
  bounded 120 "$program" "$run" "$target" "${command[@]:2}" </dev/null >"$out/$run.out" 2>"$out/$run.err"
  echo $? >"$out/$run.status"
  echo "$run: exit status $(cat "$out/$run.status") after $(seconds_since "$started") s"
  cp "/tmp/$run.log" "$out/"
}
play inflate "" deflate_on_oom=on
play hungry "trivet.hungry=$target" deflate_on_oom=on
play report "" free_page_reporting=on
