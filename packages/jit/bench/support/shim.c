/* What the tests of nbench.c need of a C library, on a machine without one. */
#include <stddef.h>
#include <stdint.h>

static uint8_t *next_room = (uint8_t *)0x800000;

void *malloc(size_t bytes) {
  uint8_t *room = next_room;
  next_room += (bytes + 0xfff) & ~(size_t)0xfff;
  return room;
}
void free(void *room) { next_room = room; }
void *mmap(void *address, size_t bytes, int protection, int flags, int file, long offset) {
  (void)address; (void)protection; (void)flags; (void)file; (void)offset;
  return malloc(bytes);
}
int munmap(void *room, size_t bytes) {
  (void)bytes;
  next_room = room;
  return 0;
}
int madvise(void *room, size_t bytes, int advice) { (void)room; (void)bytes; (void)advice; return 0; }

void *memmove(void *to, const void *from, size_t bytes) {
  uint8_t *t = to;
  const uint8_t *f = from;
  if (t < f) for (size_t i = 0; i < bytes; i++) t[i] = f[i];
  else for (size_t i = bytes; i-- > 0;) t[i] = f[i];
  return to;
}
double sqrt(double x) {
  __asm__("sqrtsd %0, %0" : "+x"(x));
  return x;
}
