/** Names of the boards. */
export type BoardName = 'pc' | 'q35' | 'microvm' | 'isapc';

/** Parts that a board may have, and that `-M board,part=off` takes away. */
export type BoardPart = 'acpi' | 'hpet' | 'pit' | 'pic' | 'rtc' | 'i8042' | 'ioapic';

/** A board: what is on it, and where RAM ends below 4 GiB. */
export interface Board {
  readonly name: BoardName;
  readonly description: string;
  readonly chipset: 'none' | 'i440fx' | 'q35';
  /** Parts that it has unless they are switched off. */
  readonly parts: readonly BoardPart[];
  /** Parts that may be switched. */
  readonly optional: readonly BoardPart[];
  /** RAM below 4 GiB ends here when there is more than `lowRamLimit` of it; else where it ends by itself. */
  readonly lowRamLimit: number;
  readonly lowRamSplit: number;
  /** Power management: which chip's block, and where ACPI tables say it is. */
  readonly pm: 'none' | 'piix4' | 'ich9';
}

const GIB = 2 ** 30;

/** The boards, by name. */
export const boards: Readonly<Record<BoardName, Board>> = {
  pc: {
    name: 'pc',
    description: 'i440FX and PIIX3/4 (PCI, ACPI)',
    chipset: 'i440fx',
    pm: 'piix4',
    parts: ['acpi', 'hpet', 'pit', 'pic', 'rtc', 'i8042', 'ioapic'],
    optional: ['acpi', 'hpet', 'pit', 'rtc', 'i8042'],
    lowRamLimit: 3.5 * GIB,
    lowRamSplit: 3 * GIB,
  },
  q35: {
    name: 'q35',
    description: 'Q35 and ICH9 (PCI Express configuration, ACPI)',
    chipset: 'q35',
    pm: 'ich9',
    parts: ['acpi', 'hpet', 'pit', 'pic', 'rtc', 'i8042', 'ioapic'],
    optional: ['acpi', 'hpet', 'pit', 'rtc', 'i8042'],
    lowRamLimit: 2.75 * GIB,
    lowRamSplit: 2 * GIB,
  },
  microvm: {
    name: 'microvm',
    description: 'no PCI: serial port, interrupt controllers, timer, ACPI power-off',
    chipset: 'none',
    pm: 'piix4',
    parts: ['pit', 'pic', 'rtc', 'ioapic', 'acpi'],
    optional: ['acpi', 'pit', 'pic', 'rtc'],
    lowRamLimit: 3 * GIB,
    lowRamSplit: 3 * GIB,
  },
  isapc: {
    name: 'isapc',
    description: 'ISA only: no PCI, no ACPI',
    chipset: 'none',
    pm: 'none',
    parts: ['pit', 'pic', 'rtc', 'i8042'],
    optional: [],
    lowRamLimit: 3.5 * GIB,
    lowRamSplit: 3.5 * GIB,
  },
};

/** All board names. */
export const boardNames = Object.keys(boards) as BoardName[];

/** What `-M board,…=on|off` may switch. */
export const boardProperties = (name: BoardName): readonly string[] => boards[name].optional;

/** Where RAM lies on a board. */
export interface RamLayout {
  readonly below4G: number;
  readonly above4G: number;
}

/** Splits `bytes` of RAM into what lies below and above 4 GiB. */
export function ramLayout(board: Board, bytes: number): RamLayout {
  const below4G = bytes > board.lowRamLimit ? board.lowRamSplit : bytes;
  return { below4G, above4G: bytes - below4G };
}
