/** What the tables describe: facts about the board, given by whoever builds it. */
export interface AcpiConfig {
  readonly chipset: 'i440fx' | 'q35' | 'none';
  /** APIC ids of the CPUs, the bootstrap processor first. */
  readonly apicIds: readonly number[];
  readonly ioApic?: { readonly address: number; readonly id: number };
  readonly hpet?: { readonly address: number };
  /** PCI Express configuration space. */
  readonly ecam?: { readonly address: number; readonly buses: number };
  /** Power management; absent on boards without it (hardware-reduced ACPI is used then). */
  readonly pm?: PmConfig;
  /** Legacy devices that exist. */
  readonly legacy: {
    readonly serial: readonly { readonly base: number; readonly irq: number }[];
    readonly rtc: boolean;
    readonly keyboard: boolean;
    readonly pit: boolean;
    /** First port of the firmware configuration device, where the operating system is to find it. */
    readonly firmwareConfig?: number;
  };
  /** Virtio devices on the MMIO transport. */
  readonly virtioMmio?: readonly { readonly base: number; readonly gsi: number }[];
  /** Slots of PCI that are filled and emptied while the machine runs. */
  readonly hotplug?: HotplugConfig;
  /** First byte above RAM below 4 GiB: PCI windows start there or later. */
  readonly pciHole: { readonly base: number; readonly end: number };
}

/** The controller of PCI hot plug. */
export interface HotplugConfig {
  readonly base: number;
  /** Ports that it takes. */
  readonly bytes: number;
  readonly slots: readonly number[];
  /** Its event in GPE0. */
  readonly gpe: number;
}

/** ACPI fixed hardware. */
export interface PmConfig {
  readonly base: number;
  readonly gpeBase: number;
  readonly gpeBytes: number;
  readonly smiCommandPort: number;
  readonly acpiEnable: number;
  readonly acpiDisable: number;
  readonly timer32: boolean;
  readonly sciInterrupt: number;
  /** SLP_TYP values. */
  readonly sleepTypes: { readonly s5: number; readonly s3?: number; readonly s4?: number };
}
