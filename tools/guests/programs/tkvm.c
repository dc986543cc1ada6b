/*
 * A small virtual machine monitor for KVM: boots a Linux bzImage in a machine with KVM's own PIC, PIT, I/O and local APIC and one 8250 on COM1.
 *
 *     tkvm -k KERNEL [-i INITRAMFS] [-a COMMAND-LINE] [-m MIB] [-4]      boot; ends with status 0 when the guest resets itself
 *     tkvm -x N                                                          time N exits of each kind, in nbench's format
 *
 * -4 backs the guest with 4-KiB pages. Facts from Documentation/virt/kvm/api.rst and Documentation/arch/x86/boot.rst of the Linux kernel.
 */
#define _GNU_SOURCE
#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "tkvm-acpi.h"

enum { BOOT_PARAMS = 0x7000, GDT = 0x8000, PAGE_TABLES = 0x9000, COMMAND_LINE = 0x20000, MEMORY_END_LOW = 0x9fc00, MEMORY_HIGH = 0x100000 };

static int vm, vcpu;
static uint8_t *ram;
static uint64_t ram_bytes = 128ull << 20;
static struct kvm_run *run;

__attribute__((noreturn)) static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "tkvm: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  exit(1);
}

static int check(int result, const char *what) {
  if (result < 0) die("%s: %s", what, strerror(errno));
  return result;
}

/* ---- 8250 ---- */

static struct {
  uint8_t ier, lcr, mcr, scratch, divisor[2], fifo;
  uint8_t input[4096];
  unsigned head, tail;
  int empty_pending, level;
} uart;
static pthread_mutex_t uart_lock = PTHREAD_MUTEX_INITIALIZER;

static int uart_has_input(void) { return uart.head != uart.tail; }

static void uart_update(void) {
  int level = ((uart.ier & 1) && uart_has_input()) || ((uart.ier & 2) && uart.empty_pending);
  if (level == uart.level) return;
  uart.level = level;
  struct kvm_irq_level line = { .irq = 4, .level = (uint32_t)level };
  check(ioctl(vm, KVM_IRQ_LINE, &line), "KVM_IRQ_LINE");
}

static void uart_put(uint8_t byte) {
  unsigned next = (uart.head + 1) % sizeof uart.input;
  if (next == uart.tail) return;
  uart.input[uart.head] = byte;
  uart.head = next;
}

static uint8_t uart_read(unsigned reg) {
  switch (reg) {
    case 0:
      if (uart.lcr & 0x80) return uart.divisor[0];
      if (!uart_has_input()) return 0;
      uint8_t byte = uart.input[uart.tail];
      uart.tail = (uart.tail + 1) % sizeof uart.input;
      return byte;
    case 1: return uart.lcr & 0x80 ? uart.divisor[1] : uart.ier;
    case 2: {
      uint8_t fifo = uart.fifo & 1 ? 0xc0 : 0;
      if ((uart.ier & 1) && uart_has_input()) return fifo | 4;
      if ((uart.ier & 2) && uart.empty_pending) {
        uart.empty_pending = 0;
        return fifo | 2;
      }
      return fifo | 1;
    }
    case 3: return uart.lcr;
    case 4: return uart.mcr;
    case 5: return 0x60 | (uart_has_input() ? 1 : 0);
    /* In loopback the modem inputs follow the outputs. */
    case 6: return uart.mcr & 0x10 ? (uint8_t)(((uart.mcr & 2) << 3) | ((uart.mcr & 1) << 5) | ((uart.mcr & 4) << 4) | ((uart.mcr & 8) << 4)) : 0xb0;
    default: return uart.scratch;
  }
}

static void uart_write(unsigned reg, uint8_t value) {
  switch (reg) {
    case 0:
      if (uart.lcr & 0x80) {
        uart.divisor[0] = value;
      } else {
        if (uart.mcr & 0x10) uart_put(value);
        else if (write(1, &value, 1) != 1) exit(1);
        uart.empty_pending = 1;
      }
      break;
    case 1:
      if (uart.lcr & 0x80) {
        uart.divisor[1] = value;
      } else {
        if (!(uart.ier & 2) && (value & 2)) uart.empty_pending = 1;
        uart.ier = value & 15;
      }
      break;
    case 2:
      uart.fifo = value;
      if (value & 2) uart.tail = uart.head;
      break;
    case 3: uart.lcr = value; break;
    case 4: uart.mcr = value & 31; break;
    case 7: uart.scratch = value; break;
    default: break;
  }
}

static void uart_access(int out, unsigned reg, uint8_t *data) {
  pthread_mutex_lock(&uart_lock);
  if (out) uart_write(reg, *data);
  else *data = uart_read(reg);
  uart_update();
  pthread_mutex_unlock(&uart_lock);
}

static void *read_input(void *unused) {
  (void)unused;
  uint8_t byte;
  while (read(0, &byte, 1) == 1) {
    pthread_mutex_lock(&uart_lock);
    uart_put(byte);
    uart_update();
    pthread_mutex_unlock(&uart_lock);
  }
  return NULL;
}

/* ---- MC146818: the time, for kernels that wait for the end of an update ---- */

static uint8_t cmos_index;

static uint8_t bcd(int value) { return (uint8_t)(value / 10 << 4 | value % 10); }

static uint8_t cmos_read(void) {
  time_t now = time(NULL);
  struct tm *utc = gmtime(&now);
  switch (cmos_index) {
    case 0: return bcd(utc->tm_sec);
    case 2: return bcd(utc->tm_min);
    case 4: return bcd(utc->tm_hour);
    case 6: return (uint8_t)(utc->tm_wday + 1);
    case 7: return bcd(utc->tm_mday);
    case 8: return bcd(utc->tm_mon + 1);
    case 9: return bcd(utc->tm_year % 100);
    case 10: return 0x26;
    case 11: return 0x02;
    case 13: return 0x80;
    case 0x32: return bcd(19 + utc->tm_year / 100);
    default: return 0;
  }
}

/* ---- machine ---- */

static void create_machine(int huge_pages, int with_irqchip) {
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) die("/dev/kvm: %s; load kvm-intel or kvm-amd", strerror(errno));
  vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
  ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
  uint64_t identity = 0xfffbc000;
  ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
  if (with_irqchip) {
    check(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    check(ioctl(vm, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2");
    /* No tick that got lost is made up for: under that promise KVM uses no AVIC. */
    struct kvm_reinject_control control = { .pit_reinject = 0 };
    ioctl(vm, KVM_REINJECT_CONTROL, &control);
  }
  const uint64_t large = 2 << 20;
  uint8_t *area = mmap(NULL, ram_bytes + large, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) die("no memory for %llu MiB of guest RAM", (unsigned long long)(ram_bytes >> 20));
  ram = (uint8_t *)(((uintptr_t)area + large - 1) & ~(large - 1));
  madvise(ram, ram_bytes, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  struct kvm_userspace_memory_region region = { .slot = 0, .guest_phys_addr = 0, .memory_size = ram_bytes, .userspace_addr = (uintptr_t)ram };
  check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
  vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  int bytes = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) die("mmap of the vCPU: %s", strerror(errno));

  const unsigned leaves = 256;
  struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + leaves * sizeof cpuid->entries[0]);
  cpuid->nent = leaves;
  check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
  for (unsigned i = 0; i < cpuid->nent; i++) {
    if (cpuid->entries[i].function == 1) {
      cpuid->entries[i].ebx &= 0x00ffffff;
      /* "There is a hypervisor", or Linux does not look for KVM's clock and measures the TSC by thousands of reads of the timer's port. */
      cpuid->entries[i].ecx |= 1u << 31;
      /* The timer of the local APIC by TSC deadline is KVM's, but ours to offer. */
      if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0) cpuid->entries[i].ecx |= 1u << 24;
    }
    if (cpuid->entries[i].function == 0xb || cpuid->entries[i].function == 0x1f) cpuid->entries[i].edx = 0;
  }
  check(ioctl(vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
  /* Fast strings on: firmware's job. Without the bit Linux drops ERMS but keeps FSRM, and the memmove of Linux 6.1 does not survive that. */
  static struct {
    struct kvm_msrs head;
    struct kvm_msr_entry entry;
  } misc = {.head = {.nmsrs = 1}, .entry = {.index = 0x1a0, .data = 1}};
  ioctl(vcpu, KVM_SET_MSRS, &misc);
  free(cpuid);
}

static uint8_t *read_file(const char *path, size_t *bytes) {
  int file = open(path, O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) < 0) die("%s: %s", path, strerror(errno));
  uint8_t *data = malloc((size_t)status.st_size + 1);
  size_t done = 0;
  while (done < (size_t)status.st_size) {
    ssize_t got = read(file, data + done, (size_t)status.st_size - done);
    if (got <= 0) die("%s: cannot be read", path);
    done += (size_t)got;
  }
  close(file);
  *bytes = done;
  return data;
}

static void load_linux(const char *kernel_path, const char *initrd_path, const char *command_line) {
  size_t bytes;
  uint8_t *image = read_file(kernel_path, &bytes);
  struct boot_params *params = (struct boot_params *)(ram + BOOT_PARAMS);
  if (bytes < 0x300 || memcmp(image + 0x202, "HdrS", 4) != 0) die("%s is no bzImage", kernel_path);
  memcpy(&params->hdr, image + 0x1f1, 0x202 + image[0x201] - 0x1f1);
  if (!(params->hdr.xloadflags & XLF_KERNEL_64)) die("%s has no 64-bit entry", kernel_path);
  size_t setup = (params->hdr.setup_sects ? params->hdr.setup_sects + 1u : 5u) * 512;
  uint64_t load = params->hdr.pref_address;
  if (load + params->hdr.init_size > ram_bytes) die("%s needs more than %llu MiB", kernel_path, (unsigned long long)(ram_bytes >> 20));
  memcpy(ram + load, image + setup, bytes - setup);
  free(image);
  if (initrd_path) {
    uint8_t *initrd = read_file(initrd_path, &bytes);
    uint64_t address = (ram_bytes - bytes) & ~0xfffull;
    if (bytes > ram_bytes || address < load + params->hdr.init_size) die("%s does not fit behind the kernel; give more memory", initrd_path);
    memcpy(ram + address, initrd, bytes);
    params->hdr.ramdisk_image = (uint32_t)address;
    params->hdr.ramdisk_size = (uint32_t)bytes;
    free(initrd);
  }
  strcpy((char *)ram + COMMAND_LINE, command_line);
  params->hdr.cmd_line_ptr = COMMAND_LINE;
  params->hdr.type_of_loader = 0xff;
  params->acpi_rsdp_addr = acpi_tables(ram);
  params->e820_entries = 3;
  params->e820_table[0] = (struct boot_e820_entry){ 0, MEMORY_END_LOW, 1 };
  params->e820_table[1] = (struct boot_e820_entry){ ACPI_TABLES, ACPI_END - ACPI_TABLES, 2 };
  params->e820_table[2] = (struct boot_e820_entry){ MEMORY_HIGH, ram_bytes - MEMORY_HIGH, 1 };

  /* Identity map of the first 4 GiB in 2-MiB pages. */
  uint64_t *table = (uint64_t *)(ram + PAGE_TABLES);
  table[0] = PAGE_TABLES + 0x1003;
  for (int i = 0; i < 4; i++) table[512 + i] = (uint64_t)(PAGE_TABLES + 0x2003 + i * 0x1000);
  for (uint64_t i = 0; i < 2048; i++) table[1024 + i] = i << 21 | 0x83;
  uint64_t *gdt = (uint64_t *)(ram + GDT);
  gdt[2] = 0x00af9b000000ffffull;
  gdt[3] = 0x00cf93000000ffffull;

  struct kvm_sregs sregs;
  check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
  struct kvm_segment code = { .base = 0, .limit = 0xffffffff, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
  struct kvm_segment data = { .base = 0, .limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
  sregs.cs = code;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
  sregs.gdt.base = GDT;
  sregs.gdt.limit = 31;
  sregs.cr3 = PAGE_TABLES;
  sregs.cr4 |= 0x20;
  sregs.cr0 = 0x80000011;
  sregs.efer |= 0x500;
  check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
  struct kvm_regs regs = { .rip = load + 0x200, .rsi = BOOT_PARAMS, .rsp = BOOT_PARAMS, .rflags = 2 };
  check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void port_access(void) {
  uint8_t *data = (uint8_t *)run + run->io.data_offset;
  unsigned port = run->io.port, size = run->io.size;
  int out = run->io.direction == KVM_EXIT_IO_OUT;
  for (unsigned i = 0; i < run->io.count; i++, data += size) {
    if (port >= 0x3f8 && port <= 0x3ff && size == 1) {
      uart_access(out, port - 0x3f8, data);
    } else if (port >= PM1_EVENT && port < PM1_END) {
      pm1_access(out, port, data, size);
    } else if (port == 0x64 && !out) {
      // No keyboard controller (output that never ends says so), but its input buffer is empty: a guest that resets through it waits for that, 65536 times.
      memset(data, 0xfd, size);
    } else if (port == 0x70 && out) {
      cmos_index = *data & 0x7f;
    } else if (port == 0x71 && !out && size == 1) {
      *data = cmos_read();
    } else if (out && ((port == 0x64 && *data == 0xfe) || (port == 0xcf9 && (*data & 4)))) {
      exit(0);
    } else if (!out) {
      memset(data, 0xff, size);
    }
  }
}

static void boot(void) {
  for (;;) {
    if (ioctl(vcpu, KVM_RUN, 0) < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      die("KVM_RUN: %s", strerror(errno));
    }
    switch (run->exit_reason) {
      case KVM_EXIT_IO: port_access(); break;
      case KVM_EXIT_MMIO:
        if (!run->mmio.is_write) memset(run->mmio.data, 0xff, sizeof run->mmio.data);
        break;
      case KVM_EXIT_HLT: break;
      case KVM_EXIT_SHUTDOWN: die("the guest shut down (triple fault)");
      case KVM_EXIT_FAIL_ENTRY: die("entry failed, hardware reason %#llx", (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
      case KVM_EXIT_INTERNAL_ERROR: die("KVM internal error %u", run->internal.suberror);
      default: die("unexpected exit %u", run->exit_reason);
    }
  }
}

/* ---- terminal ---- */

static struct termios terminal;

static void restore_terminal(void) { tcsetattr(0, TCSANOW, &terminal); }

static void make_terminal_raw(void) {
  if (tcgetattr(0, &terminal) < 0) return;
  atexit(restore_terminal);
  struct termios raw = terminal;
  cfmakeraw(&raw);
  raw.c_oflag |= OPOST;
  tcsetattr(0, TCSANOW, &raw);
}

/* ---- exits ---- */

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Runs real-mode code in the guest: BODY; dec esi; jnz BODY; out 0xf4, al. */
static void run_exits(const uint8_t *body, unsigned bytes, unsigned count) {
  uint8_t *code = ram + 0x1000;
  memcpy(code, body, bytes);
  uint8_t tail[] = { 0x66, 0x4e, 0x75, (uint8_t)(-(int)(bytes + 4)), 0xe6, 0xf4 };
  memcpy(code + bytes, tail, sizeof tail);
  struct kvm_sregs sregs;
  check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
  sregs.cs.base = sregs.cs.selector = 0;
  check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
  struct kvm_regs regs = { .rip = 0x1000, .rsi = count, .rflags = 2 };
  check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
  for (;;) {
    check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
    if (run->exit_reason == KVM_EXIT_IO && run->io.port == 0xf4) break;
    if (run->exit_reason != KVM_EXIT_IO && run->exit_reason != KVM_EXIT_MMIO) die("unexpected exit %u", run->exit_reason);
  }
}

/* Times what an exit takes once an emulator's caches and compilers know the way: as many exits go before. */
static void time_exits(const char *name, const uint8_t *body, unsigned bytes, unsigned count) {
  run_exits(body, bytes, count);
  printf("BENCH-START exit-%s\n", name);
  fflush(stdout);
  double start = seconds();
  run_exits(body, bytes, count);
  printf("BENCH exit-%s %.6f %016x\n", name, seconds() - start, count);
  fflush(stdout);
}

static void exits(unsigned count) {
  create_machine(1, 0);
  static const uint8_t cpuid[] = { 0x66, 0x31, 0xc0, 0x0f, 0xa2 };
  static const uint8_t out[] = { 0xe6, 0x80 };
  static const uint8_t vmcall[] = { 0x66, 0xb8, 0xff, 0, 0, 0, 0x0f, 0x01, 0xd9 };
  static const uint8_t vmcall_intel[] = { 0x66, 0xb8, 0xff, 0, 0, 0, 0x0f, 0x01, 0xc1 };
  time_exits("cpuid", cpuid, sizeof cpuid, count);
  int amd = access("/sys/module/kvm_amd", F_OK) == 0;
  time_exits("hypercall", amd ? vmcall : vmcall_intel, sizeof vmcall, count);
  time_exits("out", out, sizeof out, count);
}

int main(int count, char **arguments) {
  const char *kernel = NULL, *initrd = NULL, *command_line = "console=ttyS0";
  int huge = 1, option;
  unsigned timed = 0;
  while ((option = getopt(count, arguments, "k:i:a:m:4x:")) >= 0) {
    switch (option) {
      case 'k': kernel = optarg; break;
      case 'i': initrd = optarg; break;
      case 'a': command_line = optarg; break;
      case 'm': ram_bytes = strtoull(optarg, NULL, 0) << 20; break;
      case '4': huge = 0; break;
      case 'x': timed = (unsigned)strtoul(optarg, NULL, 0); break;
      default: return 2;
    }
  }
  if (timed > 0) {
    ram_bytes = 2 << 20;
    exits(timed);
    return 0;
  }
  if (!kernel) {
    fprintf(stderr, "usage: tkvm -k KERNEL [-i INITRAMFS] [-a COMMAND-LINE] [-m MIB] [-4] | tkvm -x COUNT\n");
    return 2;
  }
  create_machine(huge, 1);
  load_linux(kernel, initrd, command_line);
  make_terminal_raw();
  pthread_t reader;
  pthread_create(&reader, NULL, read_input, NULL);
  boot();
}
