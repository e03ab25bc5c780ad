# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Machines that start firmware. To be sourced in a testbed, after lib.sh; $out is the folder for what they leave.

# boot_sector TEXT IMAGE: a disk whose first sector writes a line to COM1 and powers off through ACPI.
boot_sector() {
  local text=$1 image=$2
  truncate -s 1M "$image"
  # cli; xor ax, ax; mov ds, ax; mov si, text; next: lodsb; test al, al; jz end; mov dx, 0x3f8; out dx, al; jmp next;
  # end: mov dx, 0x600; mov al, 0x34; out dx, al; hlt; jmp to the hlt; text
  {
    printf '\372\061\300\216\330\276\034\174\254\204\300\164\006\272\370\003\356\353\365\272\000\006\260\064\356\364\353\375'
    printf '\r\n%s\r\n\0' "$text"
  } | dd of="$image" conv=notrunc status=none
  printf '\125\252' | dd of="$image" bs=1 seek=510 conv=notrunc status=none
}

# plain_text FILE: without the escape sequences by which SeaBIOS draws its screen on a serial port, and without CR.
plain_text() { sed -e 's/\x1b\[[0-9;?]*[A-Za-z]//g' -e 's/\x1bc//g' "$1" | tr -d '\r'; }

# run_firmware NAME ROM SECONDS OPTION...: leaves in $out NAME.status, NAME.log (the serial output), NAME.text (the same, plain), NAME.debug and NAME.err.
run_firmware() {
  local name=$1 rom=$2 seconds=$3 started=$EPOCHREALTIME
  shift 3
  bounded "$seconds" "$TRIVET_BIN" run --hypervisor "$E2E_HYPERVISOR" --memory "size_mib=$E2E_MEMORY" --firmware "path=$rom,debug=/tmp/$name.debug" "$@" \
    >"/tmp/$name.log" 2>"/tmp/$name.err"
  echo $? >"$out/$name.status"
  echo "$name: exit status $(cat "$out/$name.status") after $(seconds_since "$started") s"
  plain_text "/tmp/$name.log" >"$out/$name.text"
  cp "/tmp/$name".{log,debug,err} "$out/"
}
