/* A stream over vsock: `vsock listen PORT` echoes to one client after the other; `vsock connect CID PORT` joins it to standard input and output. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static void fail(const char *what) {
  fprintf(stderr, "vsock: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void put(int target, const char *bytes, ssize_t length) {
  while (length > 0) {
    ssize_t done = write(target, bytes, length);
    if (done < 0) fail("write");
    bytes += done;
    length -= done;
  }
}

static _Noreturn void echo(unsigned port) {
  struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
  int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 16) < 0) fail("listen");
  printf("vsock: listening on port %u\n", port);
  fflush(stdout);
  for (;;) {
    static char bytes[65536];
    int client = accept(listener, NULL, NULL);
    if (client < 0) fail("accept");
    for (ssize_t length; (length = read(client, bytes, sizeof bytes)) > 0;) put(client, bytes, length);
    close(client);
  }
}

static int join(unsigned cid, unsigned port) {
  struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
  int peer = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (peer < 0 || connect(peer, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  struct pollfd ends[2] = { { .fd = 0, .events = POLLIN }, { .fd = peer, .events = POLLIN } };
  for (;;) {
    static char bytes[65536];
    if (poll(ends, 2, -1) < 0) fail("poll");
    for (int i = 0; i < 2; i++) {
      if (!(ends[i].revents & (POLLIN | POLLHUP))) continue;
      ssize_t length = read(ends[i].fd, bytes, sizeof bytes);
      if (length < 0) fail("read");
      if (length > 0) put(i == 0 ? peer : 1, bytes, length);
      else if (i == 1) return 0;
      else {
        shutdown(peer, SHUT_WR);
        ends[0].fd = -1;
      }
    }
  }
}

int main(int count, char **words) {
  if (count == 3 && !strcmp(words[1], "listen")) echo(strtoul(words[2], NULL, 0));
  if (count == 4 && !strcmp(words[1], "connect")) return join(strtoul(words[2], NULL, 0), strtoul(words[3], NULL, 0));
  fprintf(stderr, "usage: vsock listen PORT | vsock connect CID PORT\n");
  return 2;
}
