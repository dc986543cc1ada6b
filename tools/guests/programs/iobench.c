/*
 * Measures a disk, a network and a folder, in the words of nbench.c: `iobench disk DEVICE SCALE` writes over the device, `iobench net PREFIX ADDRESS PORT SCALE` talks to
 * the server of `pnpm bench --devices`: a line `G n` asks for n bytes, `P n` announces n bytes, `E n` asks for n bytes to be echoed, 64 at a time;
 * `iobench files FOLDER` looks at all that is in a folder, then reads it.
 *     BENCH-START name
 *     BENCH name seconds checksum
 * BENCH_ONLY in the environment chooses some: names of tests, or what stands before their hyphen, with commas between.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 65536, BLOCK = 4096, MESSAGE = 64 };
/** How much there is to do at scale 1: about a second each, so that what an emulator has to do once does not count. */
enum { CHUNKS = 1024, WRITE_PASSES = 4, READ_PASSES = 6, BLOCKS = 8000, GET_BYTES = 96 << 20, PUT_BYTES = 48 << 20, MESSAGES = 4000 };
static unsigned char *buffer;

static void fail(const char *what) {
  fprintf(stderr, "iobench: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static uint64_t sum(uint64_t seed, const unsigned char *bytes, size_t length) {
  for (size_t i = 0; i + 8 <= length; i += 512) {
    uint64_t word;
    memcpy(&word, bytes + i, sizeof word);
    seed = seed * 31 + word;
  }
  return seed;
}

/** Whether a test is to run; a name may be NULL for any of the prefix. */
static int wanted(const char *prefix, const char *name) {
  const char *only = getenv("BENCH_ONLY");
  if (!only || !*only) return 1;
  size_t length = strlen(prefix);
  for (const char *at = only; at; at = strchr(at, ','), at = at ? at + 1 : at) {
    size_t word = strcspn(at, ",");
    if (word < length || strncmp(at, prefix, length)) continue;
    if (word == length || (at[length] == '-' && (!name || (word == length + 1 + strlen(name) && !strncmp(at + length + 1, name, strlen(name)))))) return 1;
  }
  return 0;
}

static double start(const char *prefix, const char *name) {
  printf("BENCH-START %s-%s\n", prefix, name);
  fflush(stdout);
  return now();
}

static void end(const char *prefix, const char *name, double from, uint64_t checksum) {
  printf("BENCH %s-%s %.6f %016llx\n", prefix, name, now() - from, (unsigned long long)checksum);
  fflush(stdout);
}

/** Sequential in pieces of 64 KiB, then 4 KiB here and there, past the guest's cache. */
static void disk(const char *path, long scale) {
  int file = open(path, O_RDWR | O_DIRECT);
  if (file < 0) fail(path);
  long chunks = CHUNKS / scale, blocks = BLOCKS / scale;
  uint64_t total = 0;
  double from;
  if (wanted("disk", "write")) {
    from = start("disk", "write");
    for (long i = 0; i < chunks * WRITE_PASSES; i++) {
      memset(buffer, (int)i + 1, CHUNK);
      if (pwrite(file, buffer, CHUNK, i % chunks * CHUNK) != CHUNK) fail("write");
    }
    if (fsync(file) < 0) fail("fsync");
    end("disk", "write", from, chunks);
  }
  if (wanted("disk", "read")) {
    from = start("disk", "read");
    for (long i = 0; i < chunks * READ_PASSES; i++) {
      if (pread(file, buffer, CHUNK, i % chunks * CHUNK) != CHUNK) fail("read");
      total = sum(total, buffer, CHUNK);
    }
    end("disk", "read", from, total);
  }
  uint32_t state = 1;
  long places = chunks * (CHUNK / BLOCK);
  for (int writing = 0; writing < 2; writing++) {
    const char *name = writing ? "random-write" : "random-read";
    if (!wanted("disk", name)) continue;
    from = start("disk", name);
    for (long i = 0; i < blocks; i++) {
      state = state * 1664525 + 1013904223;
      off_t at = (off_t)((state >> 8) % places) * BLOCK;
      ssize_t done = writing ? pwrite(file, buffer, BLOCK, at) : pread(file, buffer, BLOCK, at);
      if (done != BLOCK) fail(name);
      total = total * 31 + buffer[0];
    }
    end("disk", name, from, total);
  }
  close(file);
}

static int dial(const char *address, int port, char command, long bytes) {
  struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(port) };
  inet_pton(AF_INET, address, &peer.sin_addr);
  int line = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  if (line < 0 || connect(line, (struct sockaddr *)&peer, sizeof peer) < 0) fail("connect");
  setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  char text[64];
  int length = snprintf(text, sizeof text, "%c %ld\n", command, bytes);
  if (write(line, text, length) != length) fail("write");
  return line;
}

static void get(const char *prefix, const char *address, int port, long bytes) {
  long done = 0;
  double from = start(prefix, "get");
  int line = dial(address, port, 'G', bytes);
  for (ssize_t length; (length = read(line, buffer, CHUNK)) > 0;) done += length;
  close(line);
  if (done != bytes) fail("get");
  end(prefix, "get", from, done);
}

static void put(const char *prefix, const char *address, int port, long bytes) {
  double from = start(prefix, "put");
  int line = dial(address, port, 'P', bytes);
  for (long done = 0; done < bytes;) {
    ssize_t length = write(line, buffer, bytes - done < CHUNK ? bytes - done : CHUNK);
    if (length < 0) fail("put");
    done += length;
  }
  if (read(line, buffer, 1) != 1) fail("put");
  close(line);
  end(prefix, "put", from, bytes);
}

static void requests(const char *prefix, const char *address, int port, long messages) {
  double from = start(prefix, "requests");
  int line = dial(address, port, 'E', messages * MESSAGE);
  for (long i = 0; i < messages; i++) {
    if (write(line, buffer, MESSAGE) != MESSAGE) fail("request");
    for (ssize_t got = 0, length; got < MESSAGE; got += length)
      if ((length = read(line, buffer + got, MESSAGE - got)) <= 0) fail("answer");
  }
  close(line);
  end(prefix, "requests", from, messages);
}

static void net(const char *prefix, const char *address, int port, long scale) {
  if (wanted(prefix, "get")) get(prefix, address, port, GET_BYTES / scale);
  if (wanted(prefix, "put")) put(prefix, address, port, PUT_BYTES / scale);
  if (wanted(prefix, "requests")) requests(prefix, address, port, MESSAGES / scale);
}

static uint64_t seen;

static int look(const char *path, const struct stat *stat, int type, struct FTW *place) {
  (void)path, (void)place;
  seen += (uint64_t)stat->st_size * (type == FTW_F) + 1;
  return 0;
}

static int take(const char *path, const struct stat *stat, int type, struct FTW *place) {
  (void)stat, (void)place;
  if (type != FTW_F) return 0;
  int file = open(path, O_RDONLY);
  if (file < 0) fail(path);
  for (ssize_t length; (length = read(file, buffer, CHUNK)) != 0;) {
    if (length < 0) fail(path);
    // Whatever the order of the files is.
    seen += sum(length, buffer, length);
  }
  close(file);
  return 0;
}

/** Every name and its attributes, then every byte. */
static void files(const char *root) {
  if (wanted("files", "walk")) {
    seen = 0;
    double from = start("files", "walk");
    for (int i = 0; i < 3; i++)
      if (nftw(root, look, 32, FTW_PHYS) != 0) fail("walk");
    end("files", "walk", from, seen);
  }
  if (wanted("files", "read")) {
    seen = 0;
    double from = start("files", "read");
    if (nftw(root, take, 32, FTW_PHYS) != 0) fail("read");
    end("files", "read", from, seen);
  }
}

int main(int count, char **words) {
  if (posix_memalign((void **)&buffer, BLOCK, CHUNK)) return 1;
  memset(buffer, 7, CHUNK);
  if (count == 4 && !strcmp(words[1], "disk")) disk(words[2], atol(words[3]));
  else if (count == 6 && !strcmp(words[1], "net")) net(words[2], words[3], atoi(words[4]), atol(words[5]));
  else if (count == 3 && !strcmp(words[1], "files")) files(words[2]);
  else return 2;
  return 0;
}
