# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What is checked by reading the sources: to be sourced by bash after common.sh. Each check prints what it found and fails if it found anything.

sources() { git -C "$trivet_root" ls-files --cached --others --exclude-standard -- "$@" | sed "s|^|$trivet_root/|" | xargs -r ls -d 2>/dev/null; }

# none_of TEXT: fails, with the text, if standard input has any line.
none_of() {
  local found
  found=$(sed "s|^$trivet_root/||" | head -n 20)
  [ -z "$found" ] || { echo "$1:"; sed 's/^/  /' <<<"$found"; return 1; }
}

check_format() {
  sources '*.cpp' '*.hpp' '*.h' | xargs -r -n 20 -P 2 clang-format-14 --dry-run -Werror
}

check_spdx() {
  local file
  sources '*.cpp' '*.hpp' '*.h' '*.S' '*.ld' '*.sh' '*.cmake' '*CMakeLists.txt' '*.md' '*.in' 'scripts/*' '.ci/*' | while read -r file; do
    # In the first line, or the second after a shebang.
    head -n 2 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause' || echo "$file"
  done | none_of "no SPDX line at the top"
}

# search PATTERN: FILE:LINE:TEXT for each hit in the files named on standard input. No hit is no failure.
search() { xargs -r grep -nIE "$1" /dev/null || true; }

# P1: a hypervisor's own names stay in its backend (the Xen mapping files of memory aside, which speak to the kernel). Comments may name them.
check_leaks() {
  local names='\b(kvm|xc|mshv|hv)_[a-z0-9_]+|\bxen(devicemodel|foreignmemory|evtchn|gnttab|store)_[a-z_]+|\b(KVM|MSHV|HV)_[A-Z0-9_]+'
  names+='|<(linux/kvm|asm/kvm|linux/mshv|xenctrl|xen/)|^[^:]*:?[0-9]*:? *# *(el)?if.*(KVM|XEN|MSHV|HYPERV)'
  sources core memory virtio vmm | grep -E '\.(cpp|hpp|in)$' | grep -vE '/memory/src/[a-z_]*(xen|foreign|grant)' |
    search "$names" | sed 's|//.*||' | { grep -E "$names" || true; } | none_of "P1: a hypervisor's name outside its backend"
}

# The rooms' arrows: what each may include of ours.
check_rooms() {
  local room
  while read -r room pattern; do
    sources "$room" | search "#include <trivet/($pattern)/"
  done <<'ARROWS' | { grep -E '/(include|src)/' || true; } | none_of "an include against the rooms' order"
core memory|virtio|kvm|xen|mshv|vmm
memory virtio|kvm|xen|mshv|vmm
virtio kvm|xen|mshv|vmm
backends/kvm virtio|xen|mshv|vmm
backends/xen virtio|kvm|mshv|vmm
backends/mshv virtio|kvm|xen|vmm
ARROWS
}

# Nothing that names one machine, and no promise in place of work.
check_words() {
  local words="T""ODO|F""IXME|X""XX|unimplemented|DISABLED_[A-Z]\w*"
  { sources . | xargs -r grep -nIF "$trivet_root/" /dev/null || true; } | none_of "a path of this machine" &&
    sources '*.cpp' '*.hpp' '*.sh' '*.cmake' 'scripts/*' '*CMakeLists.txt' | grep -v '/lib/style.sh$' |
    search "\b($words)\b" | none_of "a promise in place of work"
}

# A file beyond 400 lines is a question to answer.
check_length() {
  sources core memory virtio vmm backends | grep -E '\.(cpp|hpp|h)$' | xargs -r wc -l | awk '$2 != "total" && $1 > 400 { print $2 ": " $1 " lines" }' |
    none_of "a file beyond 400 lines"
}

check_shell() {
  local file
  sources 'scripts/*' 'tests/*.sh' '.ci/*' | grep -v '\.c$' | while read -r file; do
    case $(head -n 1 "$file") in *busybox*) sh -n "$file" ;; *) bash -n "$file" ;; esac || echo "$file"
  done | none_of "a script that does not parse"
}

check_style() {
  local failed=0 check
  for check in spdx leaks rooms words length shell format; do
    "check_$check" || { echo "style: $check failed"; failed=1; }
  done
  return $failed
}
