import { type Clock, type Device, type Line, nsToTicks, type RegionHandle, type Timer, ticksToNs, type Width, type Wiring } from '@nestvm/bus';
import type { SavableDevice } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';
import { ACPI_PM_CHIPS, PM_TIMER_HZ, Pm1, Pm1Control, PmRegister, SleepType, SMI_COMMAND_PORT, SmiEnable } from './registers.js';
import { acpiPmSchema, type SavedAcpiPm } from './state.js';

/** How a power-management block is plugged in. */
export interface AcpiPmOptions {
  readonly chip: keyof typeof ACPI_PM_CHIPS;
  /** PM base port (default 0x600, where QEMU's firmware puts it). */
  readonly base?: number;
  /** Width of the PM timer (default 24 bits). */
  readonly timerBits?: 24 | 32;
  /** SCI line (default `gsi:9`). */
  readonly sci?: string;
}

/**
 * ACPI fixed hardware as in PIIX4 and ICH9 ("82371AB PIIX4", "ICH9", "ACPI Specification"): PM1a event and control blocks, PM timer, GPE0, SMI command port.
 * Sleeping pulses the line `poweroff` (S5, S4) or `suspend` (S3). A write to the SMI command port also pulses `smi` where SMI_EN (ICH9) or DEVACTB (PIIX4) allows it.
 */
export class AcpiPm implements Device, SavableDevice<SavedAcpiPm> {
  readonly name = 'acpi-pm';
  readonly #options: AcpiPmOptions;
  readonly #chip: (typeof ACPI_PM_CHIPS)[keyof typeof ACPI_PM_CHIPS];
  readonly #apm = new Uint8Array(2);
  /** GPE0 status bytes, then enable bytes. */
  readonly #gpe = new Uint8Array(16);
  #base: number;
  #status = 0;
  #enable = 0;
  #control = 0;
  #smiEnable = 0;
  /** PIIX4: whether its configuration lets the SMI command port raise SMIs. */
  #apmSmi = false;
  /** PM timer tick at which TMR_STS is set next (or was, when it lies in the past). */
  #overflowTick = 0;
  #clock!: Clock;
  #timer!: Timer;
  #sci!: Line;
  #lines!: Record<'poweroff' | 'suspend' | 'smi', Line>;
  #region: RegionHandle | undefined;

  constructor(options: AcpiPmOptions) {
    this.#options = options;
    this.#chip = ACPI_PM_CHIPS[options.chip];
    this.#base = options.base ?? this.#chip.base;
    this.#overflowTick = this.#halfRange;
  }

  attach(wiring: Wiring): void {
    this.#clock = wiring.clock;
    this.#timer = wiring.clock.createTimer('acpi pm timer', () => this.#drive());
    this.#sci = wiring.line(this.#options.sci ?? 'gsi:9');
    this.#lines = { poweroff: wiring.line('poweroff'), suspend: wiring.line('suspend'), smi: wiring.line('smi') };
    const read = (offset: number, width: Width) => this.#read(offset, width);
    const write = (offset: number, width: Width, value: number) => this.#write(offset, width, value);
    this.#region = wiring.pio({ name: this.name, base: this.#base, size: this.#chip.size, read, write });
    if (this.#options.chip === 'piix4') {
      wiring.pio(
        byteRegion(
          'acpi-gpe0',
          this.#chip.gpeBase,
          this.#chip.gpeBytes,
          (i) => this.#gpe[i],
          (i, value) => this.#writeGpe(i, value),
        ),
      );
    }
    wiring.pio(
      byteRegion(
        'smi-command',
        SMI_COMMAND_PORT,
        2,
        (offset) => this.#apm[offset],
        (offset, value) => this.#writeApm(offset, value),
      ),
    );
  }

  reset(): void {
    this.#status = this.#enable = this.#control = this.#smiEnable = 0;
    this.#apm.fill(0);
    this.#gpe.fill(0);
    this.#overflowTick = this.#nextOverflow();
    this.#drive();
  }

  /** Where the block is. */
  get base(): number {
    return this.#base;
  }

  /** Moves the block, as its PCI function is told to; returns false when the ports are taken. */
  setBase(base: number): boolean {
    if (base === this.#base) return true;
    try {
      this.#region?.move(base);
    } catch {
      return false;
    }
    this.#base = base;
    return true;
  }

  /** Whether writes to the SMI command port raise SMIs, for a chip that says so in its configuration space (PIIX4's DEVACTB). */
  setApmSmi(enabled: boolean): void {
    this.#apmSmi = enabled;
  }

  /** Someone pressed the power button. */
  powerButton(): void {
    this.#status |= Pm1.POWER_BUTTON;
    this.#drive();
  }

  /** Sets status bit `bit` of GPE0. */
  setGpe(bit: number): void {
    this.#gpe[bit >> 3] |= 1 << (bit & 7);
    this.#drive();
  }

  /** The machine wakes from S3: WAK_STS is what the guest will see. */
  wake(): void {
    this.#status |= Pm1.WAKE;
    this.#drive();
  }

  /** Puts the hardware under ACPI's control without a visit to the SMI command port, as firmware without SMM does. */
  enableAcpi(): void {
    this.#control |= Pm1Control.SCI_ENABLE;
  }

  save(): SavedAcpiPm {
    return {
      base: this.#base,
      status: this.#currentStatus(),
      enable: this.#enable,
      control: this.#control,
      smiEnable: this.#smiEnable,
      apm: [...this.#apm],
      gpe: [...this.#gpe],
      overflowTick: this.#overflowTick,
    };
  }

  load(saved: unknown): void {
    const state = acpiPmSchema.check(saved, this.name);
    this.setBase(state.base);
    this.#status = state.status;
    this.#enable = state.enable;
    this.#control = state.control;
    this.#smiEnable = state.smiEnable;
    this.#apm.set(state.apm);
    this.#gpe.set(state.gpe);
    this.#overflowTick = state.overflowTick;
    this.#drive();
  }

  get #halfRange(): number {
    return this.#options.timerBits === 32 ? 2 ** 31 : 2 ** 23;
  }

  get #gpeHalf(): number {
    return this.#chip.gpeBytes / 2;
  }

  #ticks(): number {
    return nsToTicks(this.#clock.nowNs(), PM_TIMER_HZ);
  }

  /** TMR_STS is set whenever the timer's top bit changes. */
  #nextOverflow(): number {
    return (Math.floor(this.#ticks() / this.#halfRange) + 1) * this.#halfRange;
  }

  /** Status as it is now: the timer bit is not stored before somebody looks. */
  #currentStatus(): number {
    if (this.#ticks() >= this.#overflowTick) this.#status |= Pm1.TIMER;
    return this.#status;
  }

  #read(offset: number, width: Width): number {
    if (offset >= PmRegister.TIMER && offset < PmRegister.TIMER + 4) {
      const value = this.#ticks() % (2 * this.#halfRange);
      return Math.floor(value / 2 ** (8 * (offset - PmRegister.TIMER))) % 2 ** (8 * width);
    }
    let value = 0;
    for (let i = 0; i < width; i++) value |= this.#readByte(offset + i) << (8 * i);
    return value >>> 0;
  }

  #readByte(offset: number): number {
    const shift = 8 * (offset & 1);
    if (offset < PmRegister.ENABLE) return (this.#currentStatus() >> shift) & 0xff;
    if (offset < PmRegister.CONTROL) return (this.#enable >> shift) & 0xff;
    if (offset < PmRegister.CONTROL + 2) return (this.#control >> shift) & 0xff;
    if (this.#options.chip === 'piix4') return 0;
    if (offset >= PmRegister.ICH9_GPE0 && offset < PmRegister.ICH9_GPE0 + 16) return this.#gpe[offset - PmRegister.ICH9_GPE0];
    if (offset >= PmRegister.ICH9_SMI_EN && offset < PmRegister.ICH9_SMI_EN + 4) return (this.#smiEnable >>> (8 * (offset & 3))) & 0xff;
    return 0;
  }

  #write(offset: number, width: Width, value: number): void {
    for (let i = 0; i < width; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
    this.#drive();
  }

  #writeByte(offset: number, value: number): void {
    const shift = 8 * (offset & 1);
    const merge = (before: number) => (before & ~(0xff << shift)) | (value << shift);
    if (offset < PmRegister.ENABLE) this.#clearStatus(value << shift);
    else if (offset < PmRegister.CONTROL) this.#enable = merge(this.#enable) & 0xffff;
    else if (offset < PmRegister.CONTROL + 2) this.#writeControl(merge(this.#control));
    else if (this.#options.chip !== 'ich9') return;
    else if (offset >= PmRegister.ICH9_GPE0 && offset < PmRegister.ICH9_GPE0 + 16) this.#writeGpe(offset - PmRegister.ICH9_GPE0, value);
    else if (offset >= PmRegister.ICH9_SMI_EN && offset < PmRegister.ICH9_SMI_EN + 4) {
      const place = 8 * (offset & 3);
      this.#smiEnable = ((this.#smiEnable & ~(0xff << place)) | (value << place)) >>> 0;
    }
  }

  #clearStatus(bits: number): void {
    this.#currentStatus();
    this.#status &= ~bits;
    if (bits & Pm1.TIMER) this.#overflowTick = this.#nextOverflow();
  }

  #writeControl(value: number): void {
    this.#control = value & Pm1Control.KEPT;
    if (!(value & Pm1Control.SLEEP_ENABLE)) return;
    const type = (value & Pm1Control.SLEEP_TYPE) >> 10;
    if (type === SleepType.S3) pulse(this.#lines.suspend);
    else if (type === SleepType.S5 || type === SleepType.S4) pulse(this.#lines.poweroff);
  }

  #writeGpe(index: number, value: number): void {
    if (index < this.#gpeHalf) this.#gpe[index] &= ~value;
    else this.#gpe[index] = value;
    this.#drive();
  }

  #writeApm(offset: number, value: number): void {
    this.#apm[offset] = value;
    if (offset !== 0) return;
    if (value === this.#chip.acpiEnable) this.#control |= Pm1Control.SCI_ENABLE;
    else if (value === this.#chip.acpiDisable) this.#control &= ~Pm1Control.SCI_ENABLE;
    const wanted = SmiEnable.GLOBAL | SmiEnable.APMC;
    if (this.#apmSmi || (this.#smiEnable & wanted) === wanted) pulse(this.#lines.smi);
    this.#drive();
  }

  #drive(): void {
    const events = this.#currentStatus() & this.#enable & Pm1.EVENTS;
    let active = events !== 0;
    for (let i = 0; i < this.#gpeHalf; i++) if (this.#gpe[i] & this.#gpe[i + this.#gpeHalf]) active = true;
    const sci = (this.#control & Pm1Control.SCI_ENABLE) !== 0;
    this.#sci.set(active && sci ? 1 : 0);
    const waiting = sci && this.#enable & Pm1.TIMER && !(this.#status & Pm1.TIMER);
    if (waiting) this.#timer.arm(ticksToNs(this.#overflowTick, PM_TIMER_HZ));
    else this.#timer.cancel();
  }
}

function pulse(line: Line): void {
  line.set(1);
  line.set(0);
}
