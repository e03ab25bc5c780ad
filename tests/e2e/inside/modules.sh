# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Modules that the testbed's kernel gets for one test only. To be sourced in a testbed.

# load_modules FOLDER [MODULE OPTION...]: those that add_modules left there, in their order, the one with these options.
load_modules() {
  local folder=$1 with=${2:-} module
  shift
  [ $# = 0 ] || shift
  while read -r module; do
    if [ "$module" = "$with.ko" ]; then busybox insmod "$folder/$module" "$@"; else busybox insmod "$folder/$module"; fi || return 1
  done <"$folder/order"
}
