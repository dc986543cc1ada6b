/** Registers of the controller ("Serial ATA AHCI 1.3.1 Specification", Generic Host Control). */
export const Hba = { CAP: 0x00, GHC: 0x04, IS: 0x08, PI: 0x0c, VS: 0x10, PORTS: 0x100, PORT_BYTES: 0x80, BYTES: 0x1000 } as const;
export const Ghc = { RESET: 1, INTERRUPTS: 2, AHCI: 0x8000_0000 } as const;
/** 64-bit addresses, NCQ, AHCI only, 32 slots; the number of ports comes in. */
export const HBA_CAPABILITIES = 0xc000_0000 + (1 << 20) + (1 << 18) + (31 << 8);
export const HBA_VERSION = 0x1_0300;
/** Registers of a port. */
export const PortRegister = {
  CLB: 0x00,
  CLBU: 0x04,
  FB: 0x08,
  FBU: 0x0c,
  IS: 0x10,
  IE: 0x14,
  CMD: 0x18,
  TFD: 0x20,
  SIG: 0x24,
  SSTS: 0x28,
  SCTL: 0x2c,
  SERR: 0x30,
  SACT: 0x34,
  CI: 0x38,
} as const;
export const PortCommand = {
  START: 0x01,
  OVERRIDE: 0x08,
  RECEIVE: 0x10,
  RECEIVING: 0x4000,
  RUNNING: 0x8000,
  WRITABLE: 0x1000_0017,
  SPIN_POWER: 0x06,
} as const;
export const PortInterrupt = { REGISTER: 0x01, PIO_SETUP: 0x02, SET_BITS: 0x08, TASK_FILE: 0x4000_0000, ALL: 0xfdc0_00ff } as const;
/** A drive is there, at generation 1, active. */
export const LINK_UP = 0x113;
/** What a port that has heard nothing shows. */
export const NO_SIGNATURE = 0xffff_ffff;
export const NO_STATUS = 0x7f;
/** Fields of a command header. */
export const Header = { BYTES: 32, FIS_LENGTH: 0x1f, ATAPI: 0x20, CLEAR_BUSY: 0x400 } as const;
/** Offsets in a command table. */
export const Table = { PACKET: 0x40, REGIONS: 0x80, REGION_BYTES: 16 } as const;
/** Types of frames, and where they go in the area for received ones. */
export const Fis = { TO_DEVICE: 0x27, TO_HOST: 0x34, PIO_SETUP: 0x5f, SET_BITS: 0xa1, INTERRUPT: 0x40, COMMAND: 0x80, BYTES: 20 } as const;
export const Received = { PIO_SETUP: 0x20, TO_HOST: 0x40, SET_BITS: 0x58 } as const;
export const SOFT_RESET = 0x04;
