/** Frequency of the power-management timer in Hz ("ACPI Specification", PM timer). */
export const PM_TIMER_HZ = 3_579_545;
/** Offsets from the PM base, alike on PIIX4 and ICH9. */
export const PmRegister = { STATUS: 0, ENABLE: 2, CONTROL: 4, TIMER: 8, ICH9_GPE0: 0x20, ICH9_SMI_EN: 0x30 } as const;
/** PM1 status and enable bits. */
export const Pm1 = { TIMER: 0x0001, GLOBAL: 0x0020, POWER_BUTTON: 0x0100, RTC: 0x0400, WAKE: 0x8000, EVENTS: 0x0521 } as const;
/** PM1 control bits. */
export const Pm1Control = { SCI_ENABLE: 0x0001, SLEEP_TYPE: 0x1c00, SLEEP_ENABLE: 0x2000, KEPT: 0x1c03 } as const;
/** SLP_TYP values (those of QEMU's boards): the DSDT's \_S5, \_S3 and \_S4 packages must say the same. */
export const SleepType = { S5: 0, S3: 1, S4: 2 } as const;
/** SMI_EN bits of ICH9. */
export const SmiEnable = { GLOBAL: 0x01, APMC: 0x20 } as const;
/** Port of the SMI command register; the next one is its status byte. */
export const SMI_COMMAND_PORT = 0xb2;
/** What differs between the two chips; a FADT is built from this. */
export const ACPI_PM_CHIPS = {
  piix4: { base: 0x600, size: 0x40, gpeBase: 0xafe0, gpeBytes: 4, acpiEnable: 0xf1, acpiDisable: 0xf0 },
  ich9: { base: 0x600, size: 0x80, gpeBase: 0x620, gpeBytes: 16, acpiEnable: 0x02, acpiDisable: 0x03 },
} as const;
