/*
 * Shadow stacks as a program has them of Linux 6.6 or later: calls and signals, a return address that was changed, writes, a second stack. Each line says what
 * came out.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARCH_SHSTK_ENABLE = 0x5001, SHSTK = 1, WRSS = 2, MAP_SHADOW_STACK = 453, SET_TOKEN = 1, SEGV_BY_CET = 10, BYTES = 4096 };

/* No function: one that returned would find no address on the new stack. */
#define ENABLE(feature) \
  ({ \
    long status = SYS_arch_prctl; \
    __asm__ volatile("syscall" : "+a"(status) : "D"((long)ARCH_SHSTK_ENABLE), "S"((long)(feature)) : "rcx", "r11", "memory"); \
    status; \
  })

static inline uint64_t *ssp(void) {
  uint64_t *pointer = NULL;
  __asm__ volatile("rdsspq %0" : "+r"(pointer));
  return pointer;
}

static volatile sig_atomic_t signals;

static void count(int number) {
  (void)number;
  signals++;
}

static void fault(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  _exit(info->si_code == SEGV_BY_CET ? 2 : 3);
}

static __attribute__((noinline)) int fibonacci(int n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

/* Changes its return address on the ordinary stack. */
static __attribute__((noinline)) int returns_elsewhere(void) {
  ((void *volatile *)__builtin_frame_address(0))[1] = (void *)_exit;
  return 4;
}

static __attribute__((noinline)) int writes(void) {
  *(volatile uint64_t *)ssp() = 1;
  return 4;
}

static __attribute__((noinline)) int writes_with_wrss(void) {
  uint64_t *top = ssp();
  if (ENABLE(WRSS) != 0) return 4;
  __asm__ volatile("wrssq %1, (%0)" ::"r"(top), "r"(*top) : "memory");
  return 0;
}

static __attribute__((noinline)) int uses_another(void) {
  char *base = (char *)syscall(MAP_SHADOW_STACK, 0L, (long)BYTES, (long)SET_TOKEN);
  uint64_t *before = ssp();
  uint64_t *end = (uint64_t *)(base + BYTES);
  __asm__ volatile("rstorssp -8(%0)\n\tsaveprevssp" ::"r"(end) : "memory", "cc");
  uint64_t *there = ssp();
  int sum = fibonacci(10);
  __asm__ volatile("rstorssp -8(%0)\n\tsaveprevssp" ::"r"(before) : "memory", "cc");
  return there == end && ssp() == before && sum == 55 ? 0 : 4;
}

/* What becomes of a process that does it: its exit status, or the negative signal. */
static int child(int (*action)(void), int catches) {
  fflush(stdout);
  pid_t process = fork();
  if (process == 0) {
    struct sigaction handler = { .sa_sigaction = fault, .sa_flags = SA_SIGINFO };
    if (catches) sigaction(SIGSEGV, &handler, NULL);
    _exit(action());
  }
  int status;
  waitpid(process, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int nothing(void) {
  return 0;
}

int main(void) {
  if (ENABLE(SHSTK) != 0) {
    puts("cet: no shadow stacks here");
    exit(1);
  }
  printf("cet: calls %d\n", fibonacci(20));
  signal(SIGUSR1, count);
  for (int i = 0; i < 100; i++) raise(SIGUSR1);
  printf("cet: signals %d\n", (int)signals);
  printf("cet: changed return address %d\n", child(returns_elsewhere, 1));
  printf("cet: ordinary write %d\n", child(writes, 0));
  printf("cet: WRSS %d\n", child(writes_with_wrss, 0));
  printf("cet: another stack %d\n", child(uses_another, 0));
  int processes = 0;
  for (int i = 0; i < 100; i++) processes += child(nothing, 0) == 0;
  printf("cet: processes %d\n", processes);
  /* main's caller has no entry on the new stack. */
  fflush(stdout);
  _exit(0);
}
