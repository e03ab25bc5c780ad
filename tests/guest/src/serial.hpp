// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// COM1, polled. Output is gathered into lines and sent in FIFO-sized bursts: few exits.
#pragma once

#include "text.hpp"

namespace guest {

/// Looks for a UART; without one, output is dropped.
void serial_start();
/// Sends text to the conformance host's debug port instead.
void serial_redirect_to_test_port();
void serial_write(Text text);
void flush_console();
/// Waits for one byte; -1 where there is no UART.
int serial_read();

}  // namespace guest
