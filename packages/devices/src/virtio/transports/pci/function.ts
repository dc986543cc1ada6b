import type { Width } from '@nestvm/bus';
import { PciFunction, type PciIdentity } from '../../../platform/pci/function.js';
import { PciCapability } from '../../../platform/pci/registers.js';
import { PciStructure } from './registers.js';

const CAPABILITY_BYTES = 16;
const ACCESS = { BAR: 4, OFFSET: 8, LENGTH: 12, DATA: 16, BYTES: 20 } as const;

/** A structure in a BAR. */
export interface StructurePlace {
  readonly type: number;
  readonly bar: number;
  readonly offset: number;
  readonly length: number;
  /** For notifications: bytes between two queues. */
  readonly stride?: number;
}

/** A PCI function with virtio's vendor capabilities, the window into its BARs among them ("VIRTIO", PCI configuration access capability). */
export class VirtioFunction extends PciFunction {
  #access = 0;

  constructor(identity: PciIdentity) {
    super(identity);
  }

  /** Adds a capability that says where a structure is. */
  addStructure({ type, bar, offset, length, stride }: StructurePlace): void {
    const bytes = new Uint8Array(stride === undefined ? CAPABILITY_BYTES : CAPABILITY_BYTES + 4);
    const view = new DataView(bytes.buffer);
    view.setUint8(2, bytes.length);
    view.setUint8(3, type);
    view.setUint8(ACCESS.BAR, bar);
    view.setUint32(ACCESS.OFFSET, offset, true);
    view.setUint32(ACCESS.LENGTH, length, true);
    if (stride !== undefined) view.setUint32(CAPABILITY_BYTES, stride, true);
    this.addCapability(PciCapability.VENDOR, bytes);
  }

  /** Adds the window through which a guest without access to BARs reaches them. */
  addWindow(): void {
    const bytes = new Uint8Array(ACCESS.BYTES);
    bytes[2] = bytes.length;
    bytes[3] = PciStructure.ACCESS;
    const writable = new Uint8Array(ACCESS.BYTES).fill(0xff, ACCESS.OFFSET);
    writable[ACCESS.BAR] = 0xff;
    this.#access = this.addCapability(PciCapability.VENDOR, bytes, writable);
  }

  override readConfig(offset: number, width: Width): number {
    if (this.#touchesData(offset, width)) {
      const window = this.#window();
      if (window) this.set32(this.#access + ACCESS.DATA, window.bar.options.read(window.at, window.width));
    }
    return super.readConfig(offset, width);
  }

  override configWritten(offset: number, width: Width): void {
    if (!this.#touchesData(offset, width)) return;
    const window = this.#window();
    if (window === undefined) return;
    const value = this.get32(this.#access + ACCESS.DATA);
    window.bar.options.write(window.at, window.width, window.width === 4 ? value : value & (window.width === 2 ? 0xffff : 0xff));
  }

  #touchesData(offset: number, width: Width): boolean {
    const data = this.#access + ACCESS.DATA;
    return this.#access !== 0 && offset < data + 4 && offset + width > data;
  }

  #window() {
    const index = this.config[this.#access + ACCESS.BAR]!;
    const at = this.get32(this.#access + ACCESS.OFFSET);
    const length = this.get32(this.#access + ACCESS.LENGTH);
    const bar = this.bars.find(({ options }) => options.index === index);
    if ((length !== 1 && length !== 2 && length !== 4) || at % length !== 0 || bar === undefined || at + length > bar.options.size) return undefined;
    return { bar, at, width: length as Width };
  }
}
