// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// One end of a connection through virtio-vsock or a console's port, in the guest or on the host: sends a stream that both ends can compute
// and checks what comes back, both ways at once, on several connections at once.
//   guest-peer connect|listen ADDRESS stream|seqpacket|raw BYTES CONNECTIONS
//   guest-peer say ADDRESS LINE           and leaves when it is answered
// ADDRESS: vsock:PORT (of the host, or of this guest), unix:PATH, relay:PATH:PORT (connects to PATH, asks for PORT
// and waits for the OK), or device:PATH (a character device, for either end). Raw: a stream whose ends are not told. Says "listening ADDRESS" once it does. Exit status 0 and a line "ok ..." if all is well.
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// Seconds without a byte, and bytes a second that a busy testbed moves at least.
enum { chunk = 20000, patience = 60, slowest = 256 << 10 };

static void fail(const char* what) {
  fprintf(stderr, "guest-peer: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
  exit(1);
}

static uint32_t next(uint32_t* state) {
  return *state = *state * 1664525 + 1013904223;
}

static void pattern(uint32_t* state, unsigned char* out, size_t size) {
  for (size_t i = 0; i < size; ++i) out[i] = (unsigned char)(next(state) >> 24);
}

// How much is sent at once: for messages, a length that both ends know.
static size_t piece(uint32_t* state, uint64_t left) {
  const size_t size = next(state) % chunk + 1;
  return size < left ? size : (size_t)left;
}

static int open_socket(const char* address, int type, int listens) {
  union {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_vm vm;
  } to;
  socklen_t size = sizeof to.local;
  char path[200] = "";
  unsigned port = 0;
  memset(&to, 0, sizeof to);
  if (strncmp(address, "device:", 7) == 0) {
    const int device = open(address + 7, O_RDWR | O_CLOEXEC);
    if (device < 0) fail(address);
    return device;
  }
  if (sscanf(address, "vsock:%u", &port) == 1) {
    to.vm.svm_family = AF_VSOCK;
    to.vm.svm_cid = listens ? VMADDR_CID_ANY : VMADDR_CID_HOST;
    to.vm.svm_port = port;
    size = sizeof to.vm;
  } else if (sscanf(address, "unix:%107s", path) == 1 || sscanf(address, "relay:%107[^:]:%u", path, &port) == 2) {
    to.local.sun_family = AF_UNIX;
    memcpy(to.local.sun_path, path, strlen(path));
  } else {
    errno = 0;
    fail(address);
  }
  const int fd = socket(to.any.sa_family, type | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (listens) {
    if (bind(fd, &to.any, size) != 0 || listen(fd, 16) != 0) fail(address);
    return fd;
  }
  if (connect(fd, &to.any, size) != 0) fail(address);
  if (strncmp(address, "relay:", 6) == 0) {
    char line[64] = "";
    size_t got = 0;
    snprintf(line, sizeof line, "CONNECT %u\n", port);
    if (write(fd, line, strlen(line)) != (ssize_t)strlen(line)) fail("CONNECT");
    memset(line, 0, sizeof line);
    do {
      const ssize_t more = recv(fd, line + got, type == SOCK_STREAM ? 1 : sizeof line - 1, 0);
      if (more <= 0) fail("no OK");
      got += (size_t)more;
    } while (line[got - 1] != '\n' && got + 1 < sizeof line);
    errno = 0;
    if (strncmp(line, "OK ", 3) != 0) fail(line);
  }
  return fd;
}

static int raw;  // read and write, and no ends

static void send_all(int fd, int type, uint64_t bytes, uint32_t seed) {
  unsigned char data[chunk];
  uint32_t sizes = seed + 1;
  while (bytes != 0) {
    const size_t size = piece(&sizes, bytes);
    pattern(&seed, data, size);
    for (size_t done = 0; done < size;) {
      const ssize_t sent = raw ? write(fd, data + done, size - done) : send(fd, data + done, size - done, MSG_NOSIGNAL);
      if (sent <= 0 || (type == SOCK_SEQPACKET && (size_t)sent != size)) fail("send");
      done += (size_t)sent;
    }
    bytes -= size;
  }
  if (!raw && shutdown(fd, SHUT_WR) != 0) fail("shutdown");
}

static void check_all(int fd, int type, uint64_t bytes, uint32_t seed) {
  unsigned char data[chunk], wanted[chunk];
  uint32_t sizes = seed + 1;
  while (bytes != 0) {
    const size_t size = type == SOCK_SEQPACKET ? piece(&sizes, bytes) : sizeof data;
    const ssize_t got = raw ? read(fd, data, sizeof data) : recv(fd, data, sizeof data, 0);
    if (got <= 0) fail("receive");
    errno = 0;
    if ((uint64_t)got > bytes || (type == SOCK_SEQPACKET && (size_t)got != size)) fail("not the length that was sent");
    pattern(&seed, wanted, (size_t)got);
    if (memcmp(data, wanted, (size_t)got) != 0) fail("not the bytes that were sent");
    bytes -= (uint64_t)got;
  }
  if (!raw && recv(fd, data, 1, 0) != 0) fail("more than was sent, or no end");
}

int main(int count, char** words) {
  if (count == 4 && strcmp(words[1], "say") == 0) {
    const int fd = open_socket(words[2], SOCK_STREAM, 0);
    char answer[80];
    ssize_t got = 0;
    alarm(patience);
    if (dprintf(fd, "%s\n", words[3]) < 0 || (got = read(fd, answer, sizeof answer)) <= 0) fail("say");
    printf("answer %.*s", (int)got, answer);
    return 0;
  }
  if (count != 6) {
    fputs("usage: guest-peer connect|listen ADDRESS stream|seqpacket|raw BYTES CONNECTIONS\n", stderr);
    return 2;
  }
  const int listens = strcmp(words[1], "listen") == 0;
  const int type = strcmp(words[3], "seqpacket") == 0 ? SOCK_SEQPACKET : SOCK_STREAM;
  raw = strcmp(words[3], "raw") == 0;
  const uint64_t bytes = strtoull(words[4], NULL, 10);
  const int connections = atoi(words[5]);
  // Who connects sends one stream, who listens the other.
  const uint32_t ours = listens ? 11 : 22, theirs = listens ? 22 : 11;
  const int listener = listens ? open_socket(words[2], type, 1) : -1;
  if (listens) {  // from here on who connects is not refused
    printf("listening %s\n", words[2]);
    fflush(stdout);
  }
  const struct timeval limit = {patience, 0};
  alarm(2 * patience + (unsigned)(bytes * (unsigned)connections / slowest));
  for (int i = 0; i < connections; ++i) {
    const int device = strncmp(words[2], "device:", 7) == 0;
    const int fd = !listens ? open_socket(words[2], type, 0) : device ? listener : accept(listener, NULL, NULL);
    if (fd < 0) fail("accept");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    for (int sends = 0; sends < 2; ++sends) {
      const pid_t child = fork();
      if (child < 0) fail("fork");
      if (child != 0) continue;
      sends ? send_all(fd, type, bytes, ours) : check_all(fd, type, bytes, theirs);
      _exit(0);
    }
    close(fd);
  }
  for (int status; wait(&status) > 0;) {
    errno = 0;
    if (status != 0) fail("a connection");
  }
  printf("ok %s %s %s: %llu bytes each way on %d connections\n", words[1], words[2], words[3],
         (unsigned long long)bytes, connections);
  return 0;
}
