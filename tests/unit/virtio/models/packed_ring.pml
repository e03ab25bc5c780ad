// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A packed ring with EVENT_IDX (virtio 1.2, 2.8.10): as split_ring.pml, with descriptors that both sides write, chains of one and two of them, wrap counters,
// and suppression structures that are set to DISABLE while a side works. A place is 0 to 2 * SIZE - 1: the offset, and the round's wrap counter.
#define SIZE 3
#define PLACES (2 * SIZE)
#define CELLS (SIZE + 2)
#define driver_event SIZE
#define device_event (SIZE + 1)
#include "memory.pml"

#define CHAINS 4
#define DISABLE 255
// What a descriptor holds: whose it is, in which round. At first as the round before the first left it.
#define available(place) (2 + 2 * ((place) / SIZE))
#define used(place) (3 + 2 * ((place) / SIZE))
#define offset(place) ((place) % SIZE)
#define distance(from, to) ((to + PLACES - from) % PLACES)
// Whether the `count` descriptors before `end` have the event among them: abi::packed_need_event.
#define behind(event, end) (distance(event, end) == 0 -> PLACES : distance(event, end))
#define need_event(event, end, count) (event != DISABLE && behind(event, end) <= count)

byte length[SIZE];  // of the chain whose first descriptor this is, complete before its flags are: release and acquire are not in question here

active proctype driver() {
  byte sent = 0, received = 0, place = 0, taken = 0, free = SIZE, added = 0, count;
  byte expected[SIZE];  // how long the chain was whose used descriptor comes here: chains come back in their order
  do
  :: sent < CHAINS && free > 0 ->
     if
     :: count = 1
     :: free > 1 -> count = 2
     fi;
     atomic {
       length[offset(place)] = count;
       expected[offset(place)] = count;
       free = free - count;
       added = added + count;
       sent++
     }
     // 2.8.6: the flags of all of them, the first one's last.
     if
     :: count == 2 -> driver_store(offset((place + 1) % PLACES), available((place + 1) % PLACES))
     :: else
     fi;
     driver_store(offset(place), available(place));
     atomic { place = (place + count) % PLACES; count = 0 }
     if
     :: skip  // ask later, after another chain
     :: driver_fence(1);
        if
        :: need_event(memory[device_event], place, added) -> added = 0; kick()
        :: else -> added = 0
        fi
     fi
  :: memory[offset(taken)] == used(taken) ->
     atomic {
       count = expected[offset(taken)];
       taken = (taken + count) % PLACES;
       free = free + count;
       received++;
       count = 0
     }
  :: received == CHAINS -> break
  :: memory[offset(taken)] != used(taken) && received < CHAINS && (sent == CHAINS || free == 0) ->
     if
     :: added != 0 ->
        driver_fence(1);
        if
        :: need_event(memory[device_event], place, added) -> added = 0; kick()
        :: else -> added = 0
        fi
     :: else
     fi;
     driver_store(driver_event, taken);
     driver_fence(2);
     if
     :: memory[offset(taken)] == used(taken)
     :: else -> interrupted -> interrupted = false
     fi;
     driver_store(driver_event, DISABLE)
  od
}

active proctype device() {
  byte done = 0, place = 0, published = 0, count;
  do
  :: memory[offset(place)] == available(place) ->
     count = length[offset(place)];
     device_store(offset(place), used(place));
     atomic {
       place = (place + count) % PLACES;
       published = published + count;
       count = 0;
       done++
     }
     if
     :: skip  // ask later, after another chain
     :: device_fence(3);
        if
        :: need_event(memory[driver_event], place, published) -> published = 0; interrupt()
        :: else -> published = 0
        fi
     fi
  :: memory[offset(place)] != available(place) ->
     if
     :: published != 0 ->
        device_fence(3);
        if
        :: need_event(memory[driver_event], place, published) -> published = 0; interrupt()
        :: else -> published = 0
        fi
     :: else
     fi;
     if
     :: done == CHAINS -> break
     :: else
     fi;
     device_store(device_event, place);
     device_fence(4);
     if
     :: memory[offset(place)] == available(place)
     :: else -> kicked -> kicked = false
     fi;
     device_store(device_event, DISABLE)
  od
}
