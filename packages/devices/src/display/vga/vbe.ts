import { DISPI_ID, DISPI_MAXIMUM, DISPI_OLDEST_ID, Dispi, DispiEnable } from './registers.js';

/** Depths that the extension has, and the bytes of a pixel. */
const BYTES_PER_PIXEL: Readonly<Record<number, number>> = { 8: 1, 15: 2, 16: 2, 24: 3, 32: 4 };
const BANK_BYTES = 0x1_0000;

/** The registers of the Bochs VBE extension: a linear framebuffer of any size that fits into video memory. */
export class Vbe {
  readonly registers = new Uint16Array(Dispi.COUNT);
  index = 0;

  constructor(
    readonly memoryBytes: number,
    /** Clears the first bytes of video memory. */
    private readonly clear: (bytes: number) => void,
  ) {
    this.reset();
  }

  reset(): void {
    this.index = 0;
    this.registers.fill(0);
    this.registers[Dispi.ID] = DISPI_ID;
  }

  get enabled(): boolean {
    return (this.registers[Dispi.ENABLE]! & DispiEnable.ENABLED) !== 0;
  }

  /** Whether a pixel is a byte or more: then memory is linear, else it is the VGA's planes. */
  get linear(): boolean {
    return this.enabled && this.pixelBytes > 0;
  }

  get pixelBytes(): number {
    return BYTES_PER_PIXEL[this.registers[Dispi.BPP]!] ?? 0;
  }

  get dac8(): boolean {
    return (this.registers[Dispi.ENABLE]! & DispiEnable.DAC_8BIT) !== 0;
  }

  get lineBytes(): number {
    return this.registers[Dispi.VIRTUAL_WIDTH]! * this.pixelBytes;
  }

  /** Byte of video memory at the top left. */
  get start(): number {
    return this.registers[Dispi.Y]! * this.lineBytes + this.registers[Dispi.X]! * this.pixelBytes;
  }

  /** Byte of video memory where the window at 0xa0000 begins. */
  get bankOffset(): number {
    return this.registers[Dispi.BANK]! * BANK_BYTES;
  }

  read(register: number): number {
    const { registers } = this;
    if (register === Dispi.MEMORY) return Math.min(0xffff, this.memoryBytes / BANK_BYTES);
    if (register >= Dispi.COUNT) return 0;
    if (registers[Dispi.ENABLE]! & DispiEnable.CAPABILITIES) {
      if (register === Dispi.WIDTH) return DISPI_MAXIMUM.width;
      if (register === Dispi.HEIGHT) return DISPI_MAXIMUM.height;
      if (register === Dispi.BPP) return DISPI_MAXIMUM.bpp;
    }
    return registers[register]!;
  }

  write(register: number, value: number): void {
    const { registers } = this;
    switch (register) {
      case Dispi.ID:
        if (value >= DISPI_OLDEST_ID && value <= DISPI_ID) registers[register] = value;
        return;
      case Dispi.WIDTH:
      case Dispi.HEIGHT:
      case Dispi.BPP:
      case Dispi.VIRTUAL_WIDTH:
      case Dispi.X:
      case Dispi.Y:
        registers[register] = value;
        return this.fit();
      case Dispi.BANK:
        registers[register] = Math.min(value, this.memoryBytes / BANK_BYTES - 1);
        return;
      case Dispi.ENABLE:
        return this.#enable(value);
      default:
    }
  }

  #enable(value: number): void {
    const { registers } = this;
    const starts = (value & DispiEnable.ENABLED) !== 0 && !this.enabled;
    registers[Dispi.ENABLE] = value & 0xff;
    registers[Dispi.BANK] = 0;
    if (!starts) return;
    registers[Dispi.VIRTUAL_WIDTH] = registers[Dispi.WIDTH]!;
    registers[Dispi.X] = registers[Dispi.Y] = 0;
    this.fit();
    if ((value & DispiEnable.NO_CLEAR) === 0) this.clear(this.lineBytes * registers[Dispi.HEIGHT]!);
  }

  /** Brings the registers to what video memory can hold. */
  fit(): void {
    const { registers } = this;
    const pixel = Math.max(1, this.pixelBytes);
    registers[Dispi.WIDTH] = Math.min(registers[Dispi.WIDTH]! & ~7, DISPI_MAXIMUM.width);
    const widest = Math.min(0xfff8, this.memoryBytes / pixel);
    registers[Dispi.VIRTUAL_WIDTH] = Math.min(widest, Math.max(registers[Dispi.VIRTUAL_WIDTH]!, registers[Dispi.WIDTH]!));
    const lines = Math.floor(this.memoryBytes / Math.max(1, registers[Dispi.VIRTUAL_WIDTH]! * pixel));
    registers[Dispi.VIRTUAL_HEIGHT] = Math.min(lines, 0xffff);
    registers[Dispi.HEIGHT] = Math.min(registers[Dispi.HEIGHT]!, lines, DISPI_MAXIMUM.height);
    registers[Dispi.X] = Math.min(registers[Dispi.X]!, registers[Dispi.VIRTUAL_WIDTH]! - registers[Dispi.WIDTH]!);
    registers[Dispi.Y] = Math.min(registers[Dispi.Y]!, lines - registers[Dispi.HEIGHT]!);
  }
}
