# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# A guest's network: the tap t0 and what serves on it. To be sourced in a testbed.
export PATH=$PATH:/usr/sbin:/sbin

# network_up NUMBER MTU PAYLOAD SENT OPTION...: t0 is 10.NUMBER.0.1/24, OPTION are ip tuntap's; port 80 gives the file PAYLOAD as /payload, and what the first
# to come to port 9000 sends goes to the file SENT. What was asked for is in the file $network_log, if that is set.
network_up() {
  local number=$1 mtu=$2 payload=$3 sent=$4
  shift 4
  network_folder=$(mktemp -d /tmp/network.XXXXXX)
  mkdir "$network_folder/www"
  cp "$payload" "$network_folder/www/payload"
  mkfifo "$network_folder/silence"
  ip tuntap add dev t0 mode tap vnet_hdr "$@"
  ip link set dev t0 mtu "$mtu"
  ip addr add "10.$number.0.1/24" dev t0
  ip link set dev t0 up
  busybox httpd -f -vv -p "10.$number.0.1:80" -h "$network_folder/www" 2>"${network_log:-/dev/null}" &
  network_servers=($!)
  # It ends with its peer, not with its own input.
  busybox nc -l -p 9000 <>"$network_folder/silence" >"$sent" &
  network_servers+=($!)
}

# network_down COUNTERS: leaves there the tap's bytes and packets, received and sent, as the host counts, and what it had no room for.
network_down() {
  local counter
  for counter in rx_bytes rx_packets tx_bytes tx_packets tx_dropped; do
    echo "$counter $(cat "/sys/class/net/t0/statistics/$counter")"
  done >"$1"
  kill "${network_servers[@]}" 2>/dev/null
  wait "${network_servers[@]}" 2>/dev/null
  ip link del dev t0
  rm -rf "$network_folder"
}
