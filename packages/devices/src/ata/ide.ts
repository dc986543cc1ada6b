import type { Device, Line, Width, Wiring } from '@nestvm/bus';
import { PciFunction } from '../platform/pci/function.js';
import type { SavableDevice } from '../saved-state.js';
import type { AtaDrive } from './drive.js';
import { IdeChannel } from './ide-channel.js';
import { IDE_PORTS, type IdePorts } from './ide-registers.js';
import { ideSchema, type SavedIde } from './ide-state.js';

/** The drives of a controller: two on each channel. */
export type IdeDrives = readonly (AtaDrive | undefined)[];

/**
 * An IDE controller with two channels at the usual ports: an ISA card, or function 1 of PIIX3 with bus-master DMA ("82371SB PIIX3", "Programming Interface
 * for Bus Master IDE Controller").
 */
export class IdeController implements Device, SavableDevice<SavedIde> {
  readonly name: string;
  readonly channels: readonly [IdeChannel, IdeChannel];
  #pci: PciFunction | undefined;

  constructor(name: string, drives: IdeDrives) {
    this.name = name;
    this.channels = [new IdeChannel(`${name} primary`, drives.slice(0, 2)), new IdeChannel(`${name} secondary`, drives.slice(2, 4))];
  }

  /** PIIX3's function for it: BAR 4 is bus-master DMA. */
  get pci(): PciFunction {
    this.#pci ??= this.#createFunction();
    return this.#pci;
  }

  attach(wiring: Wiring): void {
    this.channels.forEach((channel, i) => this.#plug(wiring, channel, IDE_PORTS[i]!));
  }

  reset(): void {
    for (const channel of this.channels) channel.reset();
  }

  /** The machine stands still. */
  freeze(): void {
    for (const { gate } of this.channels) gate.close();
  }

  thaw(): void {
    for (const { gate } of this.channels) gate.open();
  }

  /** Something happened outside of the vCPUs: ends a sleep. */
  set onActivity(wake: () => void) {
    for (const channel of this.channels) channel.onActivity = wake;
  }

  save(): SavedIde {
    return { channels: this.channels.map((channel) => channel.save()) };
  }

  load(saved: unknown): void {
    const state = ideSchema.check(saved, this.name);
    this.channels.forEach((channel, i) => channel.load(state.channels[i]!));
  }

  #plug(wiring: Wiring, channel: IdeChannel, { command, control, line }: IdePorts): void {
    const wire: Line = wiring.line(line);
    channel.connect(wiring.dma, (level) => wire.set(level));
    wiring.pio({
      name: channel.name,
      base: command,
      size: 8,
      read: (offset, width) => (offset === 0 ? channel.readData(width) : channel.read(offset)),
      write: (offset, width, value) => (offset === 0 ? channel.writeData(width, value) : channel.write(offset, value & 0xff)),
    });
    wiring.pio({
      name: `${channel.name} control`,
      base: control,
      size: 1,
      read: () => channel.alternateStatus(),
      write: (_offset, _width, value) => channel.control(value),
    });
  }

  #createFunction(): PciFunction {
    const pci = new PciFunction({ name: `${this.name} pci`, vendor: 0x8086, device: 0x7010, classCode: 0x01_0180 });
    // IDETIM: both channels decode their ports.
    pci.set32(0x40, 0x8000_8000);
    pci.allow(0x40, 4, 0xffff_ffff);
    pci.allow(0x44, 1, 0xff);
    const channel = (offset: number): IdeChannel => this.channels[offset >> 3]!;
    pci.addBar({
      index: 4,
      kind: 'io',
      size: 16,
      read: (offset, width) => gather(offset, width, (at) => channel(at).readMaster(at & 7)),
      write: (offset, width, value) => {
        for (let i = 0; i < width && offset + i < 16; i++) channel(offset + i).writeMaster((offset + i) & 7, (value >>> (8 * i)) & 0xff);
      },
    });
    return pci;
  }
}

function gather(offset: number, width: Width, read: (offset: number) => number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value |= (offset + i < 16 ? read(offset + i) : 0xff) << (8 * i);
  return value >>> 0;
}
