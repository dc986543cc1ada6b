/** What a CPU asks of its local APIC, or of the PIC where there is none. Implemented structurally by `@nestvm/devices`. */
export interface InterruptSource {
  /** True when a maskable interrupt is ready, priorities considered. */
  intr(): boolean;
  /** The INTA cycle: takes the interrupt and returns its vector, 0-255. */
  acknowledge(): number;
  /** Takes a pending NMI, SMI or INIT: true once for each. */
  takeNmi(): boolean;
  takeSmi(): boolean;
  takeInit(): boolean;
  /** Takes a pending start-up IPI: its vector, or -1. */
  takeSipi(): number;
  /** CR8: the task-priority class, 0-15. */
  readTpr(): number;
  writeTpr(value: number): void;
  /** Reads x2APIC registers (0x800-0x8ff), IA32_TSC_DEADLINE and IA32_APIC_BASE into `msrLo` and `msrHi`; false means #GP. */
  readMsr(index: number): boolean;
  /** Writes one of the same from `msrLo` and `msrHi`; false means #GP. */
  writeMsr(index: number): boolean;
  /** Value halves of the MSR accesses, int32. */
  msrLo: number;
  msrHi: number;
  /** A performance counter has overflowed: delivers what the LVT entry says, and masks the entry, if it is to. Absent: nothing is connected. */
  performanceInterrupt?(mask: boolean): void;
  /** Sets what is called whenever something that `intr` or a taker may report becomes pending. */
  setWake(callback: () => void): void;
}

/** An interrupt source with nothing connected: no interrupts, no APIC registers. */
export function createNullInterruptSource(): InterruptSource {
  let tpr = 0;
  return {
    msrLo: 0,
    msrHi: 0,
    intr: () => false,
    acknowledge: () => 0xff,
    takeNmi: () => false,
    takeSmi: () => false,
    takeInit: () => false,
    takeSipi: () => -1,
    readTpr: () => tpr,
    writeTpr: (value) => {
      tpr = value & 15;
    },
    readMsr: () => false,
    writeMsr: () => false,
    setWake: () => {},
  };
}
