/*
 * Executes single user-mode instructions on the CPU it runs on. Requests come from one file and results go to another; both are
 * described in machine.ts. Every case is entered and left through the signal frame: returning from the handler loads the whole register state, the
 * instruction runs, and the INT3 that fills the rest of the code page (or the instruction's own exception) brings the state back.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <cpuid.h>
#include <fcntl.h>
#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum {
  CODE = 0x3000, CODE_BYTES = 0x2000, START = 0x3800, WINDOW = 0x8000, WINDOW_BYTES = 0x2000,
  /* Offsets in an image; the same as in packages/conformance/src/vectors/image.ts. */
  RIP = 128, RFLAGS = 136, GS_BASE = 144, FS_BASE = 152, MXCSR = 160, FCW = 164, FSW = 166, FTAG = 168, FPR = 176, VEC = 304, MEMORY = 832,
  IMAGE_BYTES = MEMORY + WINDOW_BYTES,
  NO_VECTOR = 0xff, TIMEOUT = 0xfe,
  KEPT_FLAGS = 0x240ed7 /* CF 1 PF AF ZF SF IF DF OF AC ID */,
};

static const int gregs[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

static uint8_t background[IMAGE_BYTES], before[IMAGE_BYTES], after[IMAGE_BYTES];
static const uint8_t *request, *request_end;
static uint8_t *response, *response_start;
static uint64_t cases, alarmed_at = ~0ull, own_fs;
static int running, mode, length;
static mcontext_t home;
static uint8_t home_fp[16384];
static size_t fp_bytes;

static uint32_t u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static uint64_t u64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static uint16_t u16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }

/* Inside the handler no library function may be called that uses thread-local storage: FS is the guest's until own_fs is back. */
static void copy(void *to, const void *from, size_t bytes) { __asm__ volatile("cld; rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory"); }

static void load(ucontext_t *uc) {
  greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) g[gregs[i]] = u64(before + 8 * i);
  g[REG_RIP] = START;
  g[REG_EFL] = u64(before + RFLAGS);
  uint64_t cs = mode == 64 ? 0x33 : mode == 32 ? 0x23 : 0x07;
  g[REG_CSGSFS] = (g[REG_CSGSFS] & 0x0000ffffffff0000) | cs | (uint64_t)(mode == 16 ? 0x0f : 0x2b) << 48;
  uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
  int top = u16(before + FSW) >> 11 & 7;
  copy(fp, before + FCW, 2);
  copy(fp + 2, before + FSW, 2);
  fp[4] = before[FTAG];
  fp[5] = 0;
  memset(fp + 6, 0, 18);
  copy(fp + 24, before + MXCSR, 4);
  for (int i = 0; i < 8; i++) {
    memset(fp + 32 + 16 * i, 0, 16);
    copy(fp + 32 + 16 * i, before + FPR + 16 * ((top + i) & 7), 10);
  }
  uint64_t bv = u64(fp + 512) | 7;
  copy(fp + 512, &bv, 8);
  for (int i = 0; i < 16; i++) {
    copy(fp + 160 + 16 * i, before + VEC + 32 * i, 16);
    copy(fp + 576 + 16 * i, before + VEC + 32 * i + 16, 16);
  }
  copy((void *)WINDOW, before + MEMORY, WINDOW_BYTES);
  _writegsbase_u64(u64(before + GS_BASE));
}

static void save(ucontext_t *uc) {
  greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) copy(after + 8 * i, &g[gregs[i]], 8);
  copy(after + RIP, &g[REG_RIP], 8);
  uint64_t flags = g[REG_EFL] & KEPT_FLAGS;
  copy(after + RFLAGS, &flags, 8);
  uint64_t gs = _readgsbase_u64();
  copy(after + GS_BASE, &gs, 8);
  const uint8_t *fp = (const uint8_t *)uc->uc_mcontext.fpregs;
  uint64_t bv = u64(fp + 512);
  memset(after + MXCSR, 0, MEMORY - MXCSR);
  if (bv & 1) {
    int top = u16(fp + 2) >> 11 & 7;
    copy(after + FCW, fp, 2);
    copy(after + FSW, fp + 2, 2);
    after[FTAG] = fp[4];
    for (int i = 0; i < 8; i++) copy(after + FPR + 16 * ((top + i) & 7), fp + 32 + 16 * i, 10);
  } else {
    after[FCW] = 0x7f;
    after[FCW + 1] = 0x03;
  }
  copy(after + MXCSR, fp + 24, 4);
  for (int i = 0; i < 16; i++) {
    if (bv & 2) copy(after + VEC + 32 * i, fp + 160 + 16 * i, 16);
    if (bv & 4) copy(after + VEC + 32 * i + 16, fp + 576 + 16 * i, 16);
  }
  copy(after + MEMORY, (void *)WINDOW, WINDOW_BYTES);
}

/* Writes the runs of bytes in which `after` differs from `before`; short gaps are bridged. */
static void put_differences(void) {
  uint8_t *count_at = response;
  uint16_t count = 0;
  response += 2;
  for (int i = 0; i < IMAGE_BYTES; i++) {
    if ((i & 7) == 0 && i + 8 <= IMAGE_BYTES && u64(before + i) == u64(after + i)) { i += 7; continue; }
    if (before[i] == after[i]) continue;
    int end = i + 1;
    for (int j = i + 1; j < IMAGE_BYTES && j < end + 3; j++) if (before[j] != after[j]) end = j + 1;
    uint16_t head[2] = { (uint16_t)i, (uint16_t)(end - i) };
    copy(response, head, 4);
    copy(response + 4, after + i, end - i);
    response += 4 + end - i;
    count++;
    i = end - 1;
  }
  copy(count_at, &count, 2);
}

static void put_result(int vector, uint32_t error, uint64_t cr2) {
  *response++ = (uint8_t)vector;
  copy(response, &error, 4);
  copy(response + 4, &cr2, 8);
  response += 12;
  put_differences();
}

static int next_case(void) {
  if (request >= request_end) return 0;
  mode = request[0];
  length = request[1];
  memset((void *)CODE, 0xcc, CODE_BYTES);
  copy((void *)START, request + 2, length);
  copy(before, background, IMAGE_BYTES);
  request += 2 + length;
  int patches = u16(request);
  request += 2;
  for (; patches > 0; patches--) {
    copy(before + u16(request), request + 4, u16(request + 2));
    request += 4 + u16(request + 2);
  }
  return 1;
}

static void finish_case(ucontext_t *uc, int signal) {
  greg_t *g = uc->uc_mcontext.gregs;
  int vector = signal == SIGALRM ? TIMEOUT : (int)g[REG_TRAPNO];
  save(uc);
  if (vector == 3 && !(((uint8_t *)START)[0] == 0xcc && u64(after + RIP) == START + 1)) {
    uint64_t rip = u64(after + RIP) - 1;
    copy(after + RIP, &rip, 8);
    vector = NO_VECTOR;
  }
  /* A #DB without a cause of its own cannot happen: TF is never set. */
  put_result(vector, (uint32_t)g[REG_ERR], vector == 14 ? (uint64_t)g[REG_CR2] : 0);
  cases++;
}

static void handler(int signal, siginfo_t *info, void *context) {
  (void)info;
  __asm__ volatile("pushq $0x202; popfq" : : : "cc", "memory");
  ucontext_t *uc = context;
  uint64_t fs = _readfsbase_u64();
  if (running) _writefsbase_u64(own_fs);
  if (signal == SIGALRM) {
    int stuck = running && alarmed_at == cases;
    alarmed_at = cases;
    if (!stuck) { _writefsbase_u64(fs); return; }
  }
  if (running) {
    copy(after + FS_BASE, &fs, 8);
    uint64_t kept;
    copy(&kept, after + FS_BASE, 8);
    finish_case(uc, signal);
    copy(after + FS_BASE, &kept, 8);
  } else {
    fp_bytes = u32((uint8_t *)uc->uc_mcontext.fpregs + 464);
    if (fp_bytes < 832 || fp_bytes > sizeof home_fp) fp_bytes = 832;
    home = uc->uc_mcontext;
    copy(home_fp, uc->uc_mcontext.fpregs, fp_bytes);
    running = 1;
  }
  if (next_case()) {
    load(uc);
    _writefsbase_u64(u64(before + FS_BASE));
    return;
  }
  void *fp = uc->uc_mcontext.fpregs;
  uc->uc_mcontext = home;
  uc->uc_mcontext.fpregs = fp;
  copy(fp, home_fp, 832);
  uc->uc_mcontext.gregs[REG_RIP] += 2; /* past the UD2 that started it all */
  running = 0;
}

static void *map(uintptr_t at, size_t bytes, int protection) {
  void *p = mmap((void *)at, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (p != (void *)at) { perror("harness: mmap of a low page (is vm.mmap_min_addr 4096 or less?)"); exit(2); }
  return p;
}

static void descriptor(int entry, int code) {
  struct user_desc d = { .entry_number = entry, .limit = 0xffff, .seg_32bit = 0, .contents = code ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA, .useable = 1 };
  if (syscall(SYS_modify_ldt, 1, &d, sizeof d)) fprintf(stderr, "harness: no 16-bit segments here\n");
}

static void print_cpu(void) {
  unsigned r[12], a, b, c, d;
  for (int i = 0; i < 3; i++) __cpuid(0x80000002 + i, r[4 * i], r[4 * i + 1], r[4 * i + 2], r[4 * i + 3]);
  char name[49] = { 0 }, vendor[13] = { 0 };
  memcpy(name, r, 48);
  __cpuid(0, a, b, c, d);
  memcpy(vendor, &b, 4); memcpy(vendor + 4, &d, 4); memcpy(vendor + 8, &c, 4);
  __cpuid(1, a, b, c, d);
  unsigned family = (a >> 8 & 15) + ((a >> 8 & 15) == 15 ? a >> 20 & 255 : 0), model = (a >> 4 & 15) | (a >> 12 & 0xf0);
  printf("{\"vendor\":\"%s\",\"family\":%u,\"model\":%u,\"stepping\":%u,\"name\":\"%s\"}\n", vendor, family, model, a & 15, name);
}

int main(int argc, char **argv) {
  if (argc < 2) { fprintf(stderr, "usage: harness cpu | harness REQUESTS RESPONSES\n"); return 2; }
  if (!strcmp(argv[1], "cpu")) { print_cpu(); return 0; }
  int in = open(argv[1], O_RDONLY);
  struct stat st;
  if (in < 0 || fstat(in, &st)) { perror(argv[1]); return 2; }
  request = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, in, 0);
  request_end = request + st.st_size;
  memcpy(background, request, IMAGE_BYTES);
  request += IMAGE_BYTES;
  size_t room = (size_t)8 << 30;
  response = response_start = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  map(CODE, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC);
  map(WINDOW, WINDOW_BYTES, PROT_READ | PROT_WRITE);
  descriptor(0, 1);
  descriptor(1, 0);
  __asm__ volatile("movl $0x2b, %%eax; movl %%eax, %%ds; movl %%eax, %%es" : : : "eax");
  own_fs = _readfsbase_u64();
  stack_t stack = { .ss_sp = malloc(1 << 20), .ss_size = 1 << 20 };
  sigaltstack(&stack, NULL);
  struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
  sigfillset(&action.sa_mask);
  static const int signals[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGALRM };
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
  struct itimerval timer = { .it_interval = { .tv_usec = 300000 }, .it_value = { .tv_usec = 300000 } };
  setitimer(ITIMER_REAL, &timer, NULL);
  __asm__ volatile("ud2" : : : "memory");
  timer = (struct itimerval){ 0 };
  setitimer(ITIMER_REAL, &timer, NULL);
  int out = open(argv[2], O_CREAT | O_TRUNC | O_WRONLY, 0644);
  for (uint8_t *p = response_start; p < response;) {
    ssize_t n = write(out, p, response - p > 1 << 24 ? 1 << 24 : response - p);
    if (n <= 0) { perror(argv[2]); return 2; }
    p += n;
  }
  fprintf(stderr, "harness: %llu cases\n", (unsigned long long)cases);
  return 0;
}
