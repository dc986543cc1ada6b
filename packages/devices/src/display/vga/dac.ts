/** The palette of 256 colours behind ports 0x3c6 to 0x3c9. */
export class Dac {
  /** Red, green, blue of each colour, as they were written. */
  readonly colours = new Uint8Array(768);
  mask = 0xff;
  readIndex = 0;
  writeIndex = 0;
  /** Which of the three bytes comes next. */
  part = 0;
  /** 0 after a read index was set, 3 after a write index: what port 0x3c7 reads. */
  state = 0;
  /** What was written of a colour that is not complete. */
  readonly pending = new Uint8Array(3);

  reset(): void {
    this.colours.fill(0);
    this.pending.fill(0);
    this.mask = 0xff;
    this.readIndex = this.writeIndex = this.part = this.state = 0;
  }

  selectRead(index: number): void {
    this.readIndex = index;
    this.part = 0;
    this.state = 3;
  }

  selectWrite(index: number): void {
    this.writeIndex = index;
    this.part = 0;
    this.state = 0;
  }

  read(): number {
    const value = this.colours[this.readIndex * 3 + this.part]!;
    if (++this.part === 3) {
      this.part = 0;
      this.readIndex = (this.readIndex + 1) & 0xff;
    }
    return value;
  }

  /** The colour changes when all three bytes are there. */
  write(value: number, wide: boolean): void {
    this.pending[this.part] = wide ? value : value & 0x3f;
    if (++this.part < 3) return;
    this.part = 0;
    this.colours.set(this.pending, this.writeIndex * 3);
    this.writeIndex = (this.writeIndex + 1) & 0xff;
  }
}
