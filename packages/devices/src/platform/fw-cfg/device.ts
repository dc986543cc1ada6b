import type { Device, GuestMemory, Width, Wiring } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import type { SavableDevice } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';
import { DMA_SIGNATURE, FILE_NAME_BYTES, FW_CFG_FEATURES, FwCfgDma, FwCfgKey, FwCfgPort } from './registers.js';
import { fwCfgSchema, type SavedFwCfg } from './state.js';

/** What comes behind the end of an item, piece by piece. */
const ZEROS = new Uint8Array(0x10_0000);

/** What a board tells its guest. */
export interface FwCfgOptions {
  readonly ramBytes: number;
  /** Number of CPUs now and at most (default 1). */
  readonly cpus?: number;
  readonly maxCpus?: number;
}

/** QEMU's firmware configuration device with DMA ("QEMU Firmware Configuration (fw_cfg) Device"). All items are read-only for the guest. */
export class FwCfg implements Device, SavableDevice<SavedFwCfg> {
  readonly name = 'fw-cfg';
  readonly #items = new Map<number, Uint8Array>();
  readonly #files: { name: string; data: Uint8Array }[] = [];
  /** What makes the bytes of a file anew, by its key. */
  readonly #renewals = new Map<number, () => Uint8Array>();
  #key = 0;
  #offset = 0;
  #dmaHigh = 0;
  #dma!: GuestMemory;

  constructor({ ramBytes, cpus = 1, maxCpus = cpus }: FwCfgOptions) {
    this.set(FwCfgKey.SIGNATURE, new TextEncoder().encode('QEMU'));
    this.setNumber(FwCfgKey.ID, FW_CFG_FEATURES, 4);
    this.set(FwCfgKey.UUID, new Uint8Array(16));
    this.setNumber(FwCfgKey.RAM_SIZE, ramBytes, 8);
    this.setNumber(FwCfgKey.NO_GRAPHIC, 1, 2);
    this.setNumber(FwCfgKey.CPUS, cpus, 2);
    this.setNumber(FwCfgKey.BOOT_DEVICE, 0, 2);
    this.setNumber(FwCfgKey.NUMA, 0, 8);
    this.setNumber(FwCfgKey.BOOT_MENU, 0, 2);
    this.setNumber(FwCfgKey.MAX_CPUS, maxCpus, 2);
    this.setNumber(FwCfgKey.IRQ0_OVERRIDE, 1, 4);
    this.#publishFiles();
  }

  attach(wiring: Wiring): void {
    this.#dma = wiring.dma;
    // The 16-bit selector overlaps the 8-bit data port: a word written to 0x510 selects.
    wiring.pio({
      name: this.name,
      base: FwCfgPort.SELECTOR,
      size: 2,
      read: (offset, width) => (offset === 1 && width === 1 ? this.#next() : 0),
      write: (offset, width, value) => {
        if (offset === 0) this.#select(width === 1 ? value & 0xff : value & 0xffff);
      },
    });
    const dma = (offset: number) => DMA_SIGNATURE[offset >> 2] >>> (8 * (3 - (offset & 3)));
    wiring.pio({
      ...byteRegion(
        'fw-cfg-dma',
        FwCfgPort.DMA,
        8,
        (offset) => dma(offset) & 0xff,
        () => {},
      ),
      write: (offset, width, value) => this.#writeDma(offset, width, value),
    });
  }

  reset(): void {
    this.#select(0);
    this.#dmaHigh = 0;
  }

  /** Gives an item its bytes. */
  set(key: number, data: Uint8Array): void {
    this.#items.set(key, data);
  }

  /** Gives an item a little-endian number of 2, 4 or 8 bytes. */
  setNumber(key: number, value: number, bytes: 2 | 4 | 8): void {
    const data = new Uint8Array(bytes);
    for (let i = 0, rest = value; i < bytes; i++, rest = Math.floor(rest / 256)) data[i] = rest % 256;
    this.set(key, data);
  }

  /**
   * Adds or replaces a named file; throws `DeviceError` (`bad-option`) for a name of more than 55 bytes. `renew` is asked for the bytes, as many as before, each
   * time the guest selects the file.
   */
  setFile(name: string, data: Uint8Array, renew?: () => Uint8Array): void {
    if (new TextEncoder().encode(name).length >= FILE_NAME_BYTES) {
      throw new DeviceError('bad-option', `fw_cfg file name '${name}' is too long; use at most ${FILE_NAME_BYTES - 1} bytes`);
    }
    const at = this.#files.findIndex((other) => other.name === name);
    const index = at < 0 ? this.#files.push({ name, data }) - 1 : at;
    this.#files[index] = { name, data };
    if (renew) this.#renewals.set(FwCfgKey.FIRST_FILE + index, renew);
    else this.#renewals.delete(FwCfgKey.FIRST_FILE + index);
    this.#publishFiles();
  }

  save(): SavedFwCfg {
    return { key: this.#key, offset: this.#offset, dmaHigh: this.#dmaHigh };
  }

  load(saved: unknown): void {
    const state = fwCfgSchema.check(saved, this.name);
    this.#key = state.key;
    this.#offset = state.offset;
    this.#dmaHigh = state.dmaHigh;
  }

  /** The directory is sorted by name; files keep their keys by order of arrival. */
  #publishFiles(): void {
    const directory = new Uint8Array(4 + this.#files.length * (8 + FILE_NAME_BYTES));
    const view = new DataView(directory.buffer);
    view.setUint32(0, this.#files.length);
    const entries = this.#files.map((file, index) => ({ ...file, key: FwCfgKey.FIRST_FILE + index }));
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    entries.forEach(({ name, data, key }, index) => {
      const at = 4 + index * (8 + FILE_NAME_BYTES);
      view.setUint32(at, data.length);
      view.setUint16(at + 4, key);
      directory.set(new TextEncoder().encode(name), at + 8);
      this.set(key, data);
    });
    this.set(FwCfgKey.FILE_DIRECTORY, directory);
  }

  #select(key: number): void {
    const renew = this.#renewals.get(key);
    if (renew) this.set(key, renew());
    this.#key = key;
    this.#offset = 0;
  }

  /** The next byte of the selected item; 0 after its end. */
  #next(): number {
    const data = this.#items.get(this.#key);
    if (data === undefined || this.#offset >= data.length) return 0;
    return data[this.#offset++];
  }

  /** The address register is big-endian; writing its low half starts the request. */
  #writeDma(offset: number, width: Width, value: number): void {
    if (width !== 4) return;
    const swapped = swap32(value);
    if (offset === 0) this.#dmaHigh = swapped;
    else {
      const address = this.#dmaHigh * 2 ** 32 + swapped;
      this.#dmaHigh = 0;
      if (address < 2 ** 52) this.#request(address);
    }
  }

  #request(address: number): void {
    const request = new Uint8Array(16);
    this.#dma.read(address, request);
    const view = new DataView(request.buffer);
    const control = view.getUint32(0);
    if (control & FwCfgDma.SELECT) this.#select(control >>> 16);
    const ok = this.#transfer(control, view.getUint32(4), view.getUint32(8) * 2 ** 32 + view.getUint32(12));
    const result = new Uint8Array(4);
    new DataView(result.buffer).setUint32(0, ok ? 0 : FwCfgDma.ERROR);
    this.#dma.write(address, result);
  }

  #transfer(control: number, length: number, target: number): boolean {
    const data = this.#items.get(this.#key) ?? new Uint8Array(0);
    if (control & FwCfgDma.READ) {
      if (target + length > 2 ** 52) return false;
      const there = data.subarray(this.#offset, this.#offset + length);
      this.#dma.write(target, there);
      for (let done = there.length; done < length; done += ZEROS.length) this.#dma.write(target + done, ZEROS.subarray(0, length - done));
    } else if (control & FwCfgDma.WRITE) return false;
    if (control & (FwCfgDma.READ | FwCfgDma.SKIP)) this.#offset = Math.min(this.#offset + length, data.length);
    return true;
  }
}

const swap32 = (value: number): number => ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
