import type { Msi, Width, Wiring } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import type { SavableDevice } from '../../saved-state.js';
import { type BarOptions, PciBar } from './bar.js';
import { MsixTable } from './msix.js';
import { MsiControl, MULTIFUNCTION, PciCapability, PciCommand, PciConfig, PciStatus } from './registers.js';
import { PciRom } from './rom.js';
import { pciFunctionSchema, type SavedPciFunction } from './state.js';

/** Who a PCI function says it is. */
export interface PciIdentity {
  /** Unit name. */
  readonly name: string;
  readonly vendor: number;
  readonly device: number;
  readonly revision?: number;
  /** Base class, subclass and interface: 0xccssii. */
  readonly classCode: number;
  readonly subsystemVendor?: number;
  readonly subsystem?: number;
  /** INTA (1) to INTD (4); 0 for none (default). */
  readonly interruptPin?: 0 | 1 | 2 | 3 | 4;
}

/** What a host gives a function when it is plugged in. */
export interface PciSlot {
  readonly wiring: Wiring;
  /** Drives the function's interrupt pin. */
  setIntx(level: 0 | 1): void;
  /** BARs have moved: regions that were in each other's way may fit now. */
  barsChanged(): void;
}

/**
 * A PCI function: its configuration space with write masks, base address registers, capabilities, INTx, MSI and MSI-X
 * ("PCI Local Bus Specification 3.0"). A device derives from it or owns one.
 */
export class PciFunction implements SavableDevice<SavedPciFunction> {
  readonly name: string;
  /** Configuration bytes as read. */
  readonly config = new Uint8Array(256);
  /** Which configuration bits a guest may write, and which it clears by writing 1. */
  readonly writable = new Uint8Array(256);
  readonly clearable = new Uint8Array(256);
  readonly bars: PciBar[] = [];
  msix: MsixTable | undefined;
  #rom: PciRom | undefined;
  #msix = 0;
  #msi = 0;
  #capabilityEnd = 0x40;
  #lastCapability = PciConfig.CAPABILITIES as number;
  #intx: 0 | 1 = 0;
  #slot: PciSlot | undefined;
  #initial: Uint8Array | undefined;

  constructor(readonly identity: PciIdentity) {
    this.name = identity.name;
    this.set16(PciConfig.VENDOR, identity.vendor);
    this.set16(PciConfig.DEVICE, identity.device);
    this.config[PciConfig.REVISION] = identity.revision ?? 0;
    this.config[PciConfig.CLASS] = identity.classCode & 0xff;
    this.set16(PciConfig.CLASS + 1, identity.classCode >> 8);
    this.set16(PciConfig.SUBSYSTEM_VENDOR, identity.subsystemVendor ?? 0x1af4);
    this.set16(PciConfig.SUBSYSTEM, identity.subsystem ?? 0x1100);
    this.config[PciConfig.INTERRUPT_PIN] = identity.interruptPin ?? 0;
    this.allow(PciConfig.COMMAND, 2, PciCommand.WRITABLE);
    this.allow(PciConfig.CACHE_LINE, 2, 0xffff);
    this.allow(PciConfig.INTERRUPT_LINE, 1, 0xff);
    this.clearable[PciConfig.STATUS + 1] = PciStatus.CLEARABLE >> 8;
  }

  // Building.

  /** Makes bits of a register of 1, 2 or 4 bytes writable. */
  allow(offset: number, width: Width, mask: number): void {
    for (let i = 0; i < width; i++) this.writable[offset + i] |= (mask >>> (8 * i)) & 0xff;
  }

  set16(offset: number, value: number): void {
    this.config[offset] = value;
    this.config[offset + 1] = value >> 8;
  }

  get16(offset: number): number {
    return this.config[offset] | (this.config[offset + 1] << 8);
  }

  set32(offset: number, value: number): void {
    this.set16(offset, value);
    this.set16(offset + 2, value >>> 16);
  }

  get32(offset: number): number {
    return (this.get16(offset) | (this.get16(offset + 2) << 16)) >>> 0;
  }

  /** Adds a base address register; throws `DeviceError` (`bad-option`) for a size that is not a power of two or a register that is taken. */
  addBar(options: BarOptions): void {
    const { index, kind, size } = options;
    const taken = this.bars.some((bar) => bar.options.index === index || (bar.options.kind === 'memory64' && bar.options.index + 1 === index));
    if (Math.log2(size) % 1 !== 0 || size < (kind === 'io' ? 4 : 16) || taken || index > (kind === 'memory64' ? 4 : 5)) {
      throw new DeviceError('bad-option', `${this.name}: BAR ${index} of ${size} bytes (${kind}) cannot be; use a free register and a power of two`);
    }
    const bar = new PciBar(`${this.name} bar${index}`, options);
    this.bars.push(bar);
    const offset = PciConfig.BARS + 4 * index;
    this.set32(offset, bar.typeBits);
    this.allow(offset, 4, size >= 2 ** 32 ? 0 : ~(size - 1));
    if (kind === 'memory64') this.allow(offset + 4, 4, size >= 2 ** 32 ? ~(size / 2 ** 32 - 1) : ~0);
  }

  /** Adds an expansion ROM. */
  addRom(bytes: Uint8Array): void {
    this.#rom = new PciRom(this.name, bytes);
    this.allow(PciConfig.ROM, 4, this.#rom.mask);
  }

  /** Adds a capability of `bytes.length` bytes (its id and link are filled in); returns its offset. Throws `DeviceError` (`no-space`). */
  addCapability(id: number, bytes: Uint8Array, writable?: Uint8Array): number {
    const offset = this.#capabilityEnd;
    if (offset + bytes.length > 256)
      throw new DeviceError('no-space', `${this.name}: no room for capability ${id}; configuration space has 256 bytes`);
    this.config.set(bytes, offset);
    this.config[offset] = id;
    this.config[offset + 1] = 0;
    if (writable) this.writable.set(writable, offset);
    this.config[this.#lastCapability] = offset;
    this.#lastCapability = offset + 1;
    this.config[PciConfig.STATUS] |= PciStatus.CAPABILITIES;
    this.#capabilityEnd = (offset + bytes.length + 3) & ~3;
    return offset;
  }

  /** Keeps configuration space up to `end` free of capabilities. */
  reserve(end: number): void {
    this.#capabilityEnd = Math.max(this.#capabilityEnd, end);
  }

  /** Adds MSI with one vector, a 64-bit address and masking. */
  addMsi(): void {
    const bytes = new Uint8Array(24);
    bytes[2] = (MsiControl.WIDE | MsiControl.MASKING) & 0xff;
    bytes[3] = (MsiControl.WIDE | MsiControl.MASKING) >> 8;
    const writable = new Uint8Array(24);
    writable.set([MsiControl.ENABLE | MsiControl.MULTIPLE_ENABLED], 2);
    writable.set([0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 1], 4);
    this.#msi = this.addCapability(PciCapability.MSI, bytes, writable);
  }

  /** Adds MSI-X with its own memory BAR. */
  addMsix(vectors: number, barIndex: number): void {
    if (vectors < 1 || vectors > 2048) throw new DeviceError('bad-option', `${this.name}: MSI-X has 1 to 2048 vectors, not ${vectors}`);
    const table = new MsixTable(vectors);
    this.msix = table;
    const size = 2 ** Math.ceil(Math.log2(Math.max(0x1000, table.pendingOffset + table.pending.length * 4)));
    const write = (offset: number, width: Width, value: number) => table.write(offset, width, value, this.#messages());
    this.addBar({ index: barIndex, kind: 'memory', size, read: (offset, width) => table.read(offset, width), write });
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setUint16(2, vectors - 1, true);
    view.setUint32(4, barIndex, true);
    view.setUint32(8, table.pendingOffset | barIndex, true);
    const writable = new Uint8Array(12);
    writable[3] = 0xc0;
    this.#msix = this.addCapability(PciCapability.MSIX, bytes, writable);
  }

  // Plugging in.

  /** The slot has further functions, which guests look for only then. */
  setMultifunction(): void {
    for (const bytes of [this.config, this.#initial]) if (bytes) bytes[PciConfig.HEADER_TYPE] |= MULTIFUNCTION;
  }

  /** Called by the host. What has been set up until now is what `reset` goes back to. */
  plug(slot: PciSlot): void {
    this.#slot = slot;
    this.#initial = this.config.slice();
  }

  /** Called by the host: the function leaves its slot, and takes all that it has on the bus with it. */
  unplug(): void {
    this.reset();
    const slot = this.#slot;
    if (slot) for (const bar of [...this.bars, ...(this.#rom ? [this.#rom.bar] : [])]) bar.place(slot.wiring, -1);
    this.#slot = undefined;
  }

  reset(): void {
    if (this.#initial) this.config.set(this.#initial);
    this.msix?.reset();
    this.setIntx(0);
    this.placeBars();
  }

  // Interrupts.

  /** Level of the INTx pin; the command register may keep it from the wire. */
  setIntx(level: 0 | 1): void {
    this.#intx = level;
    this.config[PciConfig.STATUS] = (this.config[PciConfig.STATUS] & ~PciStatus.INTERRUPT) | (level ? PciStatus.INTERRUPT : 0);
    this.#driveIntx();
  }

  /** Whether MSI or MSI-X is enabled: then INTx is not used. */
  get messagesEnabled(): boolean {
    return this.msix?.enabled === true || this.#msiEnabled;
  }

  /** Sends message `vector` (0 with MSI); false when neither MSI-X nor MSI is enabled. */
  notify(vector: number): boolean {
    if (this.msix?.enabled) {
      this.msix.notify(vector, this.#messages());
      return true;
    }
    if (!this.#msiEnabled) return false;
    if (this.config[this.#msi + 16] & 1) this.config[this.#msi + 20] |= 1;
    else if (this.get32(this.#msi + 8) === 0) this.#messages().send(this.get32(this.#msi + 4), this.get16(this.#msi + 12));
    return true;
  }

  // Configuration accesses, by the host.

  readConfig(offset: number, width: Width): number {
    let value = 0;
    for (let i = 0; i < width; i++) value |= this.config[offset + i] << (8 * i);
    return value >>> 0;
  }

  writeConfig(offset: number, width: Width, value: number): void {
    for (let i = 0; i < width; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const mask = this.writable[at];
      this.config[at] = ((this.config[at] & ~mask) | (byte & mask)) & ~(byte & this.clearable[at]);
    }
    this.#afterWrite(offset, offset + width);
    this.configWritten(offset, width);
  }

  /** For a chip: called after each configuration write. */
  configWritten(_offset: number, _width: Width): void {}

  /** For a chip: called after `load` has put the configuration back. */
  configLoaded(): void {}

  /** Puts every BAR where its register and the command register say. */
  placeBars(): void {
    if (this.#slot === undefined) return;
    const command = this.get16(PciConfig.COMMAND);
    for (const bar of this.bars) {
      const enabled = command & (bar.options.kind === 'io' ? PciCommand.IO : PciCommand.MEMORY);
      bar.place(this.#slot.wiring, enabled ? this.barBase(bar.options) : -1);
    }
    const seen = this.#rom && command & PciCommand.MEMORY ? this.#rom.base(this.get32(PciConfig.ROM)) : -1;
    this.#rom?.bar.place(this.#slot.wiring, seen);
  }

  /** Address in a base address register. */
  barBase({ index, kind }: BarOptions): number {
    const low = this.get32(PciConfig.BARS + 4 * index);
    if (kind === 'io') return low - (low % 4);
    return low - (low % 16) + (kind === 'memory64' ? this.get32(PciConfig.BARS + 4 * index + 4) * 2 ** 32 : 0);
  }

  save(): SavedPciFunction {
    return {
      config: [...this.config],
      intx: this.#intx,
      msix: this.msix ? [...this.msix.words] : [],
      msixPending: this.msix ? [...this.msix.pending] : [],
    };
  }

  load(saved: unknown): void {
    const state = pciFunctionSchema.check(saved, this.name);
    if (state.msix.length !== (this.msix?.words.length ?? 0) || state.msixPending.length !== (this.msix?.pending.length ?? 0)) {
      throw new DeviceError('bad-state', `${this.name}: the snapshot has another MSI-X table; restore on the same board`);
    }
    this.#loadConfig(state.config);
    if (this.msix) {
      this.msix.words.set(state.msix);
      this.msix.pending.set(state.msixPending);
      this.msix.control = this.get16(this.#msix + 2);
    }
    this.setIntx(state.intx as 0 | 1);
    this.placeBars();
    this.configLoaded();
  }

  /** Bits that no guest can change are kept as they are here. */
  #loadConfig(bytes: readonly number[]): void {
    for (let i = 0; i < 256; i++) {
      const mask = this.writable[i] | this.clearable[i];
      this.config[i] = (this.config[i] & ~mask) | (bytes[i] & mask);
    }
    if (this.#msi) this.config[this.#msi + 20] = bytes[this.#msi + 20] & 1;
  }

  get #msiEnabled(): boolean {
    return this.#msi !== 0 && (this.config[this.#msi + 2] & MsiControl.ENABLE) !== 0;
  }

  #messages(): Msi {
    return this.#slot?.wiring.msi() ?? { send: () => {} };
  }

  #driveIntx(): void {
    const masked = this.messagesEnabled || (this.get16(PciConfig.COMMAND) & PciCommand.NO_INTX) !== 0;
    this.#slot?.setIntx(masked ? 0 : this.#intx);
  }

  #afterWrite(start: number, end: number): void {
    const touches = (from: number, to: number) => start < to && end > from;
    if (
      touches(PciConfig.COMMAND, PciConfig.COMMAND + 2) ||
      touches(PciConfig.BARS, PciConfig.BARS + 24) ||
      touches(PciConfig.ROM, PciConfig.ROM + 4)
    ) {
      this.placeBars();
      this.#slot?.barsChanged();
    }
    if (this.msix && touches(this.#msix, this.#msix + 4)) {
      this.msix.control = this.get16(this.#msix + 2);
      if (!(this.msix.control & 0x4000)) this.msix.flush(this.#messages());
    }
    if (this.#msi && touches(this.#msi, this.#msi + 24)) this.#flushMsi();
    this.#driveIntx();
  }

  #flushMsi(): void {
    if (!this.#msiEnabled || this.config[this.#msi + 16] & 1 || !(this.config[this.#msi + 20] & 1)) return;
    this.config[this.#msi + 20] = 0;
    this.notify(0);
  }
}
