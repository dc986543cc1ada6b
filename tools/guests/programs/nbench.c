/*
 * The benchmarks that run inside the guest. Every test prints
 *
 *     BENCH-START name
 *     BENCH-DONE name
 *     BENCH name seconds checksum
 *
 * The checksum depends on the work alone, so it is the same on any machine; the host times the space between the lines, because the guest's clock is part of what is measured: by the wall
 * clock up to BENCH-DONE, by CPU time up to BENCH. Before BENCH-START and before BENCH the guest rests for a moment, since a host knows what a process has used up only when it
 * stops, or at its next tick, and some tests are as short as a few of these. `nbench [-s DIVISOR] all | NAME…`: the divisor makes every test shorter.
 */
#define _GNU_SOURCE
#include <emmintrin.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t (*test_function)(uint64_t n);

static uint64_t seed_state;
static uint64_t next_random(void) {
  seed_state ^= seed_state << 13;
  seed_state ^= seed_state >> 7;
  seed_state ^= seed_state << 17;
  return seed_state;
}

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash ^= value;
  return hash * 0x100000001b3ull;
}

/* Keeps the compiler from seeing through a value. */
#define HIDE(x) __asm__ volatile("" : "+r"(x))

static uint64_t nothing(uint64_t n) {
  return n;
}

static uint64_t integer(uint64_t n) {
  uint64_t a = 1, b = 2, c = 3;
  for (uint64_t i = 0; i < n; i++) {
    HIDE(a);
    a += b ^ (c >> 3);
    b = (b << 7 | b >> 57) + i;
    c ^= a + (b & 0xff);
    if ((uint32_t)a < (uint32_t)c) b -= c;
  }
  return mix(mix(a, b), c);
}

static uint64_t branches(uint64_t n) {
  uint64_t sum = 0, x = 88172645463325252ull;
  for (uint64_t i = 0; i < n; i++) {
    x ^= x << 13; x ^= x >> 7; x ^= x << 17;
    switch (x & 15) {
      case 0: sum += 3; break;
      case 1: sum ^= x; break;
      case 2: sum -= i; break;
      case 3: if (x & 16) sum += 7; else sum ^= 5; break;
      case 4: case 5: sum = sum * 3 + 1; break;
      case 6: sum = ~sum; break;
      case 7: if (sum & 1) sum >>= 1; break;
      case 8: sum += x >> 32; break;
      default: sum++;
    }
  }
  return sum;
}

static uint64_t muldiv64(uint64_t n) {
  uint64_t x = 0x123456789abcdefull, sum = 0;
  for (uint64_t i = 1; i <= n; i++) {
    unsigned __int128 p = (unsigned __int128)x * (i | 0x9e3779b97f4a7c15ull);
    x = (uint64_t)(p >> 64) ^ (uint64_t)p;
    uint64_t d = (x >> 40) | 1;
    HIDE(d);
    sum += x / d + x % d;
    int64_t s = (int64_t)x, e = (int64_t)d - 0x800000;
    if (e == 0) e = 3;
    HIDE(e);
    sum ^= (uint64_t)(s / e);
  }
  return mix(sum, x);
}

/* Random reads and writes over much more memory than a TLB covers, in small pages. */
static uint64_t paging(uint64_t n) {
  size_t bytes = 64u << 20;
  uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(p, bytes, MADV_NOHUGEPAGE);
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes; i += 4096) p[i] = (uint8_t)(i >> 12);
  seed_state = 42;
  for (uint64_t i = 0; i < n; i++) {
    uint64_t r = next_random();
    uint8_t *at = p + (r % bytes);
    sum += *at;
    *at = (uint8_t)(sum + i);
  }
  munmap(p, bytes);
  return sum;
}

static uint64_t chase(uint64_t n) {
  size_t count = 1u << 20;
  uint32_t *next = malloc(count * sizeof *next);
  for (size_t i = 0; i < count; i++) next[i] = (uint32_t)i;
  seed_state = 7;
  for (size_t i = count - 1; i > 0; i--) {
    size_t j = next_random() % i;
    uint32_t t = next[i]; next[i] = next[j]; next[j] = t;
  }
  uint64_t sum = 0;
  uint32_t at = 0;
  for (uint64_t i = 0; i < n; i++) { at = next[at]; sum += at; }
  free(next);
  return sum;
}

/* Strings: the same bytes one by one and eight by eight, which are slow and fast in different emulators; sources and ends do not lie at the same place in their pages. */
enum { STRING_BYTES = 1 << 20, STRING_ROOM = STRING_BYTES + 64 };

static uint8_t *string_of(uint64_t factor) {
  uint8_t *p = malloc(STRING_ROOM);
  for (size_t i = 0; i < STRING_ROOM; i++) p[i] = (uint8_t)(i * factor);
  return p;
}

/* They are made before the test begins: pages that are touched for the first time are another test. */
static uint8_t *string_a, *string_b;

static void prepare_repmovs(void) {
  string_a = string_of(31);
  string_b = string_of(0);
}

static uint64_t repmovs(uint64_t n) {
  uint8_t *a = string_a, *b = string_b;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    void *to = b, *from = a + (i & 63);
    size_t count = STRING_BYTES;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    to = a; from = b + (i & 7); count = STRING_BYTES / 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    sum = mix(sum, a[i * 4093 % STRING_BYTES] + b[i * 65521 % STRING_BYTES]);
  }
  return sum;
}

static void prepare_repstos(void) {
  string_a = string_of(1);
}

static uint64_t repstos(uint64_t n) {
  uint8_t *a = string_a;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    void *to = a + (i & 63);
    size_t count = STRING_BYTES;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(i) : "memory");
    sum = mix(sum, a[i * 4093 % STRING_BYTES]);
    to = a; count = STRING_BYTES / 8;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(i * 0x9e3779b97f4a7c15ull) : "memory");
    sum = mix(sum, a[i * 65521 % STRING_BYTES]);
  }
  return sum;
}

/* Equal up to the last byte but one. */
static void prepare_repcmps(void) {
  string_a = string_of(31);
  string_b = string_of(31);
  string_b[STRING_BYTES - 2] ^= 0x55;
}

static uint64_t repcmps(uint64_t n) {
  uint8_t *a = string_a, *b = string_b;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    void *to = b + (i & 31), *from = a + (i & 31);
    size_t count = STRING_BYTES;
    __asm__ volatile("repe cmpsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory", "cc");
    sum = mix(sum, count);
    to = b; from = a; count = STRING_BYTES / 8;
    __asm__ volatile("repe cmpsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory", "cc");
    sum = mix(sum, (uint64_t)((uint8_t *)to - b));
  }
  return sum;
}

/* What is looked for is near the end. */
static void prepare_repscas(void) {
  string_a = string_of(2);
  string_a[STRING_BYTES - 2] = 0x55;
}

static uint64_t repscas(uint64_t n) {
  uint8_t *a = string_a;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    void *to = a + (i & 63);
    size_t count = STRING_BYTES;
    __asm__ volatile("repne scasb" : "+D"(to), "+c"(count) : "a"(0x55) : "memory", "cc");
    sum = mix(sum, count);
    to = a; count = STRING_BYTES / 8;
    __asm__ volatile("repne scasq" : "+D"(to), "+c"(count) : "a"(i) : "memory", "cc");
    sum = mix(sum, (uint64_t)((uint8_t *)to - a));
  }
  return sum;
}

static uint64_t sse_double(uint64_t n) {
  enum { SIZE = 48 };
  static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];
  for (int i = 0; i < SIZE; i++) for (int j = 0; j < SIZE; j++) { a[i][j] = 1.0 / (i + j + 1); b[i][j] = (double)(i - j) * 0.125; }
  uint64_t sum = 0;
  for (uint64_t r = 0; r < n; r++) {
    for (int i = 0; i < SIZE; i++) for (int j = 0; j < SIZE; j++) {
      double s = 0;
      for (int k = 0; k < SIZE; k++) s += a[i][k] * b[k][j];
      c[i][j] = s / (1.0 + sqrt(s * s + 1.0));
    }
    a[r % SIZE][(r * 7) % SIZE] = c[(r * 3) % SIZE][r % SIZE];
    uint64_t bits;
    memcpy(&bits, &c[r % SIZE][(r * 5) % SIZE], 8);
    sum = mix(sum, bits);
  }
  return sum;
}

static uint64_t sse_integer(uint64_t n) {
  static uint8_t data[65536 + 16];
  for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + (i >> 5));
  __m128i acc = _mm_setzero_si128(), k = _mm_set1_epi16(257);
  for (uint64_t r = 0; r < n; r++) {
    for (size_t i = 0; i < 65536; i += 16) {
      __m128i v = _mm_loadu_si128((const __m128i *)(data + i + (r & 15)));
      __m128i m = _mm_mullo_epi16(v, k);
      acc = _mm_add_epi32(_mm_xor_si128(acc, _mm_sad_epu8(v, m)), _mm_madd_epi16(m, v));
      acc = _mm_shuffle_epi32(_mm_add_epi8(acc, _mm_unpacklo_epi8(v, m)), 0x39);
    }
  }
  uint64_t out[2];
  memcpy(out, &acc, 16);
  return mix(out[0], out[1]);
}

static uint64_t x87(uint64_t n) {
  volatile long double start = 0.7L;
  long double x = start, sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    x = x * 3.7L * (1.0L - x);
    sum += x / (1.0L + (long double)(i & 7));
    if (sum > 1000.0L) sum -= 999.5L;
  }
  long double scaled = sum * 1048576.0L;
  return (uint64_t)(int64_t)scaled;
}

static __attribute__((noinline)) uint64_t fib(uint64_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static uint64_t calls(uint64_t n) { uint64_t s = 0; for (uint64_t i = 0; i < n; i++) s += fib(21 + (i & 1)); return s; }

#define OPERATION(name, body) static __attribute__((noinline)) uint64_t name(uint64_t x) { return body; }
OPERATION(op0, x + 0x9e3779b9)
OPERATION(op1, x ^ (x >> 7))
OPERATION(op2, x * 5 + 1)
OPERATION(op3, (x << 9) | (x >> 55))
OPERATION(op4, ~x)
OPERATION(op5, x - 77)
OPERATION(op6, x ^ 0x5555)
OPERATION(op7, x + (x << 3))
static uint64_t indirect(uint64_t n) {
  static uint64_t (*volatile table[8])(uint64_t) = { op0, op1, op2, op3, op4, op5, op6, op7 };
  uint64_t x = 99;
  for (uint64_t i = 0; i < n; i++) x = table[(x >> 3 ^ i) & 7](x);
  return x;
}

static uint64_t syscalls(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) sum += (uint64_t)(syscall(SYS_getppid) >= 0) + (i & 1);
  return sum;
}

static uint64_t pagefaults(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t r = 0; r < n; r++) {
    size_t bytes = 4u << 20;
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, bytes, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < bytes; i += 4096) { sum += p[i] + 1; p[i] = 1; }
    munmap(p, bytes);
  }
  return sum;
}

static uint64_t forkexec(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    pid_t child = fork();
    if (child == 0) {
      if (i & 1) _exit((int)(i & 0x7f));
      char text[8];
      snprintf(text, sizeof text, "%u", (unsigned)(i & 0x7f));
      execl("/proc/self/exe", "nbench", "-x", text, (char *)NULL);
      _exit(126);
    }
    int status = 0;
    waitpid(child, &status, 0);
    sum = mix(sum, (uint64_t)WEXITSTATUS(status));
  }
  return sum;
}

/* Code that is written, run and written again: mov eax, imm32; add eax, edi; ret. */
static uint64_t selfmodify(uint64_t n) {
  uint8_t *code = mmap(NULL, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    uint8_t *at = code + (i & 15) * 4096;
    uint32_t value = (uint32_t)(i * 2654435761u);
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    at[5] = 0x01; at[6] = 0xf8; at[7] = 0xc3;
    uint32_t (*function)(uint32_t) = (uint32_t (*)(uint32_t))(uintptr_t)at;
    for (uint32_t k = 0; k < 4; k++) sum += function(k);
  }
  munmap(code, 65536);
  return sum;
}

static uint32_t rotr(uint32_t x, int by) { return x >> by | x << (32 - by); }
static uint32_t sha_k[64];
static uint32_t fraction_of_root(uint32_t prime, int cube) {
  /* The first 32 bits of the fraction, by bisection on integers: no constant table to mistype. */
  uint64_t low = 0, high = 1ull << 36;
  while (high - low > 1) {
    uint64_t middle = (low + high) / 2;
    unsigned __int128 square = (unsigned __int128)middle * middle;
    int below = cube ? square * middle <= (unsigned __int128)prime << 96 : square <= (unsigned __int128)prime << 64;
    if (below) low = middle; else high = middle;
  }
  return (uint32_t)low;
}

static void sha_block(uint32_t h[8], const uint8_t *p) {
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++) w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    uint32_t a = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3, b = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  memcpy(s, h, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t t1 = s[7] + (rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha_k[i] + w[i];
    uint32_t t2 = (rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) h[i] += s[i];
}

static uint64_t sha256(uint64_t n) {
  static uint8_t data[64];
  uint32_t h[8], prime = 2;
  for (int i = 0; i < 64; prime++) {
    int is_prime = 1;
    for (uint32_t d = 2; d * d <= prime; d++) if (prime % d == 0) is_prime = 0;
    if (!is_prime) continue;
    if (i < 8) h[i] = fraction_of_root(prime, 0);
    sha_k[i++] = fraction_of_root(prime, 1);
  }
  if (h[0] != 0x6a09e667 || sha_k[63] != 0xc67178f2) return 0; /* the CPU cannot even count */
  for (int i = 0; i < 64; i++) data[i] = (uint8_t)(i * 11);
  for (uint64_t i = 0; i < n; i++) {
    memcpy(data, &i, 8);
    sha_block(h, data);
  }
  return mix((uint64_t)h[0] << 32 | h[1], (uint64_t)h[6] << 32 | h[7]);
}

/* The busybox gzip over text that compresses, piped back and summed; its header (10 bytes, a time stamp in it) is left out. */
static uint64_t gzip(uint64_t n) {
  char path[] = "/tmp/nbench-XXXXXX";
  int file = mkstemp(path);
  seed_state = 3;
  for (uint64_t i = 0; i < n; i++) {
    char line[128];
    uint64_t r = next_random();
    int length = snprintf(line, sizeof line, "%llu %s %x %s\n", (unsigned long long)i, r & 1 ? "interrupt" : "exception", (unsigned)(r >> 40), r & 2 ? "delivered to the guest" : "left pending");
    if (write(file, line, (size_t)length) != length) return 0;
  }
  close(file);
  char command[64];
  snprintf(command, sizeof command, "gzip -c < %s", path);
  FILE *pipe = popen(command, "r");
  uint64_t sum = 0;
  size_t at = 0;
  for (int c; (c = fgetc(pipe)) != EOF; at++) if (at >= 10) sum = mix(sum, (uint64_t)c);
  pclose(pipe);
  unlink(path);
  return sum;
}

/* So much that QEMU's TCG takes half a second to a second for each: code that is hot has been compiled for most of that time. */
static const struct { const char *name; test_function run; uint64_t amount; } tests[] = {
  { "integer", integer, 288000000 }, { "branches", branches, 50000000 }, { "muldiv64", muldiv64, 36000000 }, { "paging", paging, 3000000 },
  { "chase", chase, 6000000 }, { "repmovs", repmovs, 340 }, { "repstos", repstos, 500 },
  { "repcmps", repcmps, 340 }, { "repscas", repscas, 420 },
  { "sse-double", sse_double, 600 }, { "sse-integer", sse_integer, 3000 }, { "x87", x87, 3500000 },
  { "calls", calls, 2250 }, { "indirect", indirect, 48000000 }, { "syscalls", syscalls, 1200000 }, { "pagefaults", pagefaults, 48 }, { "forkexec", forkexec, 240 },
  { "selfmodify", selfmodify, 60000 }, { "sha256", sha256, 180000 }, { "gzip", gzip, 60000 },
  /* What the lines of a test cost by themselves; not among "all". */
  { "nothing", nothing, 0 },
};

/* What is done before the time of a test begins. */
static const struct { const char *name; void (*run)(void); } preparations[] = {
  { "repmovs", prepare_repmovs }, { "repstos", prepare_repstos }, { "repcmps", prepare_repcmps }, { "repscas", prepare_repscas },
};

static void prepare(const char *name) {
  for (size_t i = 0; i < sizeof preparations / sizeof *preparations; i++)
    if (!strcmp(name, preparations[i].name)) preparations[i].run();
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

enum { REST_US = 20000 };

static int run(const char *name, uint64_t divisor) {
  int found = 0;
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
    if (strcmp(name, "all") ? strcmp(name, tests[i].name) : !tests[i].amount) continue;
    found = 1;
    uint64_t amount = tests[i].amount / divisor;
    prepare(tests[i].name);
    usleep(REST_US);
    printf("BENCH-START %s\n", tests[i].name);
    fflush(stdout);
    double start = now();
    uint64_t sum = tests[i].run(amount ? amount : 1);
    double seconds = now() - start;
    printf("BENCH-DONE %s\n", tests[i].name);
    fflush(stdout);
    usleep(REST_US);
    printf("BENCH %s %.6f %016llx\n", tests[i].name, seconds, (unsigned long long)sum);
    fflush(stdout);
    free(string_a);
    free(string_b);
    string_a = string_b = NULL;
  }
  if (!found) fprintf(stderr, "nbench: no test %s\n", name);
  return found;
}

int main(int argc, char **argv) {
  uint64_t divisor = 1;
  int ok = argc > 1;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "-x") && i + 1 < argc) return atoi(argv[i + 1]);
    if (!strcmp(argv[i], "-s") && i + 1 < argc) divisor = strtoull(argv[++i], NULL, 10);
    else if (!run(argv[i], divisor ? divisor : 1)) ok = 0;
  }
  return ok ? 0 : 1;
}
