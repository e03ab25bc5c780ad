// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What the driver and the device of a ring share, as a processor with store buffers (x86's order) shows it: a store waits in its side's buffer, in order, and
// reaches memory at any later moment; a load passes the stores before it; a fence waits until the side's buffer is empty. Each side reads only what the other
// writes, or what differs from its own last store there, so that no load needs to look into the buffer.
//
// WITHOUT names the one fence that is left out: 1 and 2 are the driver's (before it asks whether to kick; before it looks once more and sleeps), 3 and 4 the
// device's (should_notify; enable_kicks). 0: none.
#ifndef WITHOUT
#define WITHOUT 0
#endif

#define DRIVER 0
#define DEVICE 1

byte memory[CELLS];
chan stores_of_driver = [2] of { byte, byte };
chan stores_of_device = [2] of { byte, byte };

bool kicked = false;       // an eventfd: sticky
bool interrupted = false;  // the same

inline driver_store(cell, value) { stores_of_driver ! cell, value }
inline device_store(cell, value) { stores_of_device ! cell, value }
inline driver_fence(number) {
  if
  :: number != WITHOUT -> (len(stores_of_driver) == 0)
  :: else
  fi
}
inline device_fence(number) {
  if
  :: number != WITHOUT -> (len(stores_of_device) == 0)
  :: else
  fi
}
// Out of the guest, into the kernel: whoever is woken sees the stores before it.
inline kick() { (len(stores_of_driver) == 0) -> kicked = true }
inline interrupt() { (len(stores_of_device) == 0) -> interrupted = true }

active proctype drain_driver() {
  byte cell, value;
end:
  do
  :: atomic { stores_of_driver ? cell, value -> memory[cell] = value }
  od
}
active proctype drain_device() {
  byte cell, value;
end:
  do
  :: atomic { stores_of_device ? cell, value -> memory[cell] = value }
  od
}
