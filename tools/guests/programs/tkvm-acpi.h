/*
 * ACPI for the guest of tkvm: a local APIC, so that Linux takes its ticks from that one's timer, which costs an exit or two, and not from PIT and PIC, which
 * cost six. The I/O APIC that KVM has is left out, since setting it up takes Linux a thousand exits, for one serial port: give the guest the word noapic.
 * Facts from the ACPI specification, "ACPI Software Programming Model".
 */
#include <stdint.h>
#include <string.h>

/* Fixed hardware: status, enable bits and control. Nothing ever happens there, but it must answer. SMI_CMD is 0: the machine is in ACPI mode. */
enum { PM1_EVENT = 0x600, PM1_CONTROL = 0x604, PM1_END = 0x606, SCI_ENABLED = 1, SCI = 9 };
enum { ACPI_TABLES = 0xe0000, ACPI_END = 0x100000 };

static uint8_t pm1[PM1_END - PM1_EVENT] = { [PM1_CONTROL - PM1_EVENT] = SCI_ENABLED };

static void pm1_access(int out, unsigned port, uint8_t *data, unsigned size) {
  for (unsigned i = 0; i < size; i++, port++) {
    uint8_t *byte = port < PM1_END ? &pm1[port - PM1_EVENT] : NULL;
    if (!out) data[i] = byte ? *byte : 0xff;
    else if (byte && port >= PM1_EVENT + 2) *byte = data[i] | (port == PM1_CONTROL ? SCI_ENABLED : 0);
  }
}

struct acpi_writer {
  uint8_t *ram;
  uint32_t next;
};

static void acpi_sum(uint8_t *bytes, unsigned length, uint8_t *where) {
  uint8_t sum = 0;
  *where = 0;
  for (unsigned i = 0; i < length; i++) sum = (uint8_t)(sum + bytes[i]);
  *where = (uint8_t)-sum;
}

static void put16(uint8_t *at, uint16_t value) { memcpy(at, &value, sizeof value); }
static void put32(uint8_t *at, uint32_t value) { memcpy(at, &value, sizeof value); }
static void put64(uint8_t *at, uint64_t value) { memcpy(at, &value, sizeof value); }

/* Writes a table with its header; gives its address. */
static uint32_t acpi_table(struct acpi_writer *w, const char *signature, uint8_t revision, const uint8_t *body, unsigned bytes) {
  uint32_t address = w->next;
  uint8_t *table = w->ram + address;
  unsigned length = 36 + bytes;
  memset(table, 0, 36);
  memcpy(table, signature, 4);
  put32(table + 4, length);
  table[8] = revision;
  memcpy(table + 10, "NESTVM" "TKVM    ", 14);
  put32(table + 24, 1);
  memcpy(table + 28, "TKVM", 4);
  put32(table + 32, 1);
  memcpy(table + 36, body, bytes);
  acpi_sum(table, length, table + 9);
  w->next = (address + length + 63) & ~63u;
  return address;
}

static uint32_t acpi_madt(struct acpi_writer *w) {
  static const uint8_t body[] = {
    0x00, 0x00, 0xe0, 0xfe, 1, 0, 0, 0, /* local APICs at 0xfee00000; there are 8259s too */
    0, 8, 0, 0, 1, 0, 0, 0, /* processor 0 has local APIC 0 */
    4, 6, 0xff, 0, 0, 1, /* NMI at LINT1 of all */
  };
  return acpi_table(w, "APIC", 3, body, sizeof body);
}

static uint32_t acpi_fadt(struct acpi_writer *w, uint32_t facs, uint32_t dsdt) {
  uint8_t fadt[244] = { 0 };
  put32(fadt + 36, facs);
  put32(fadt + 40, dsdt);
  put16(fadt + 46, SCI);
  put32(fadt + 56, PM1_EVENT);
  put32(fadt + 64, PM1_CONTROL);
  fadt[88] = 4;
  fadt[89] = 2;
  put16(fadt + 96, 101); /* no C2, */
  put16(fadt + 98, 1001); /* no C3 */
  put16(fadt + 109, 1); /* legacy devices, but no 8042 */
  put32(fadt + 112, 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6); /* WBINVD, C1; no fixed buttons, no fixed RTC wake */
  return acpi_table(w, "FACP", 3, fadt + 36, sizeof fadt - 36);
}

/* Writes all tables; gives the address of the RSDP. */
static uint32_t acpi_tables(uint8_t *ram) {
  struct acpi_writer w = { ram, ACPI_TABLES + 64 };
  uint32_t facs = w.next;
  memset(ram + facs, 0, 64);
  memcpy(ram + facs, "FACS", 4);
  put32(ram + facs + 4, 64);
  ram[facs + 32] = 1;
  w.next += 64;
  uint8_t root[16];
  put64(root, acpi_fadt(&w, facs, acpi_table(&w, "DSDT", 2, NULL, 0)));
  put64(root + 8, acpi_madt(&w));
  uint32_t xsdt = acpi_table(&w, "XSDT", 1, root, sizeof root);

  uint8_t *rsdp = ram + ACPI_TABLES;
  memset(rsdp, 0, 36);
  memcpy(rsdp, "RSD PTR ", 8);
  memcpy(rsdp + 9, "NESTVM", 6);
  rsdp[15] = 2;
  put32(rsdp + 20, 36);
  put64(rsdp + 24, xsdt);
  acpi_sum(rsdp, 20, rsdp + 8);
  acpi_sum(rsdp, 36, rsdp + 32);
  return ACPI_TABLES;
}
