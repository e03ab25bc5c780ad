#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Linux's own driver on a console with several ports, over PCI and over MMIO: their names, checked bytes both ways at once with a program at a socket,
# programs that come and go, a terminal among the ports; and terminals that follow the size of the one that they are shown on.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
need_guest
bytes=1000000
in_testbed "$out" console.sh "$bytes" pci mmio || { echo "the testbed failed"; exit 1; }
for home in pci mmio; do
  before=$failed
  log=$out/$home.log
  check "$home: exit status 0" is "$(cat "$out/$home.status")" 0
  check "$home: the first port's name" has '^guest: port vport.p1 is named org.example.bytes' "$log"
  check "$home: the second port's name" has '^guest: port vport.p2 is named org.example.line' "$log"
  check "$home: in the guest, bytes both ways" has "^guest: port ok listen device:/dev/vport.p1 raw: $bytes bytes each way" "$log"
  check "$home: on the host, bytes both ways" has "^ok connect unix:.* raw: $bytes bytes each way" "$out/$home.peer"
  check "$home: a program's line ends as it leaves" has '^guest: port the first program said: one, and then 0 bytes' "$log"
  check "$home: and so does the next one's" has '^guest: port the second program said: two, and then 0 bytes' "$log"
  check "$home: programs are answered" is "$(grep -c '^answer heard' "$out/$home.peer")" 2
  check "$home: the terminal" has '^hello from hvc0' "$out/$home.terminal"
  # By the configuration, and by the message RESIZE: Linux took its columns for rows before 6.16, but Debian's 6.12.117, which this guest is, has that mended.
  check "$home: a console has its terminal's size, and so has a port" has '^guest: port sizes hvc0 30 100, hvc1 30 100\b' "$log"
  check "$home: and both follow it" has '^guest: port sizes then hvc0 50 132, hvc1 50 132\b' "$log"
  check "$home: nothing failed in the guest" hasnt 'guest: FAIL|Oops|Call Trace|Kernel panic|guest: port guest-peer' "$log"
  check "$home: nothing on stderr" is "$(cat "$out/$home.err")" ""
  check "$home: no socket is left" is "$(cat "$out/$home.left")" ""
  [ "$failed" = "$before" ] || { show "$log" 40; show "$out/$home.peer"; show "$out/$home.err"; }
done
finish
