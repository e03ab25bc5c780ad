// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A split ring with EVENT_IDX (virtio 1.2, 2.7.7 and 2.7.10): driver and device each sleep when they find nothing, and neither sleeps while the other has
// something for it that it was not told. A lost kick or interrupt is a state in which both wait: an invalid end state.
#define CELLS 4
#define avail_idx 0
#define avail_event 1
#define used_idx 2
#define used_event 3
#include "memory.pml"

#define CHAINS 5
#define ROOM 2       // chains in flight at most
#define INDICES 8    // indices are taken modulo this; more than CHAINS, as no side goes a whole turn without asking (Queue::should_notify counts)
#define START 6      // so that they wrap
#define need_event(event, now, old) (((now + 2 * INDICES - event - 1) % INDICES) < ((now + INDICES - old) % INDICES))

bool begun = false;
init {
  atomic {
    memory[avail_idx] = START;
    memory[avail_event] = START;
    memory[used_idx] = START;
    memory[used_event] = START;
    begun = true
  }
}

active proctype driver() {
  byte sent = 0, received = 0, index = START, taken = START, kicked_at = START, seen;
  begun;
  do
  :: sent < CHAINS && sent - received < ROOM ->
     // One chain, or another with it before the question whether to kick.
     do
     :: sent < CHAINS && sent - received < ROOM ->
        atomic { sent++; index = (index + 1) % INDICES }
        driver_store(avail_idx, index);
        if
        :: break
        :: skip
        fi
     :: else -> break
     od;
     driver_fence(1);
     seen = memory[avail_event];
     if
     :: need_event(seen, index, kicked_at) -> kick()
     :: else
     fi;
     kicked_at = index
  :: memory[used_idx] != taken -> atomic { taken = (taken + 1) % INDICES; received++ }
  :: received == CHAINS -> break
  :: memory[used_idx] == taken && received < CHAINS && (sent == CHAINS || sent - received == ROOM) ->
     driver_store(used_event, taken);
     driver_fence(2);
     if
     :: memory[used_idx] != taken
     :: else -> interrupted -> interrupted = false
     fi
  od
}

active proctype device() {
  byte done = 0, popped = START, used = START, asked_at = START, seen;
  begun;
  do
  :: memory[avail_idx] != popped ->
     // One chain, or as many as there are before the question whether to notify.
     do
     :: memory[avail_idx] != popped ->
        atomic { popped = (popped + 1) % INDICES; used = (used + 1) % INDICES; done++ }
        device_store(used_idx, used);
        if
        :: break
        :: skip
        fi
     :: else -> break
     od;
     device_fence(3);
     seen = memory[used_event];
     if
     :: need_event(seen, used, asked_at) -> interrupt()
     :: else
     fi;
     asked_at = used
  :: memory[avail_idx] == popped && done == CHAINS -> break
  :: memory[avail_idx] == popped && done < CHAINS ->
     device_store(avail_event, popped);
     device_fence(4);
     if
     :: memory[avail_idx] != popped
     :: else -> kicked -> kicked = false
     fi
  od
}
