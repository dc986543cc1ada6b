import type { Clock } from '@nestvm/bus';
import { Dac } from './dac.js';
import type { VgaRegisters } from './geometry.js';
import {
  ATTRIBUTE_MASKS,
  Attribute,
  CRTC_PROTECT,
  Crtc,
  CrtcPort,
  GRAPHICS_MASKS,
  Graphics,
  LINE_COMPARE_BIT,
  Misc,
  PALETTE_SOURCE,
  SEQUENCER_MASKS,
  Sequencer,
  VGA_PORTS,
  VgaPort,
} from './registers.js';
import type { SavedVga } from './state.js';
import type { Vbe } from './vbe.js';

/** 60 pictures of 525 lines a second, the last of which are retrace. */
const FRAME_NS = 16_666_667;
const LINE_NS = 31_746;
const RETRACE_NS = FRAME_NS - 45 * LINE_NS;
const BLANK_NS = 25_400;
const Status = { BLANK: 0x01, RETRACE: 0x08 } as const;

/** The register groups of a VGA behind their ports: sequencer, graphics and CRT controller, attributes, palette. */
export class VgaPorts implements VgaRegisters {
  readonly sequencer = new Uint8Array(Sequencer.COUNT);
  readonly graphics = new Uint8Array(Graphics.COUNT);
  readonly crtc = new Uint8Array(Crtc.COUNT);
  readonly attribute = new Uint8Array(Attribute.COUNT);
  readonly dac = new Dac();
  attributeIndex = 0;
  #sequencerIndex = 0;
  #graphicsIndex = 0;
  #crtcIndex = 0;
  /** The next write to the attribute port is data. */
  #attributeData = false;
  #misc = 0;
  #feature = 0;
  clock!: Clock;

  constructor(readonly vbe: Vbe) {}

  reset(): void {
    for (const group of [this.sequencer, this.graphics, this.crtc, this.attribute]) group.fill(0);
    this.dac.reset();
    this.attributeIndex = this.#sequencerIndex = this.#graphicsIndex = this.#crtcIndex = this.#misc = this.#feature = 0;
    this.#attributeData = false;
  }

  /** Reads a port of the three groups from 0x3b0 to 0x3df. */
  read(port: number): number {
    if (port >= VGA_PORTS.BASE && port < VGA_PORTS.COLOUR) return this.#readBase(port - VGA_PORTS.BASE);
    const offset = this.#crtcOffset(port);
    if (offset === CrtcPort.INDEX) return this.#crtcIndex;
    if (offset === CrtcPort.DATA) return this.crtc[this.#crtcIndex & 31]!;
    if (offset === CrtcPort.STATUS) {
      this.#attributeData = false;
      return this.#status();
    }
    return 0xff;
  }

  write(port: number, value: number): void {
    if (port >= VGA_PORTS.BASE && port < VGA_PORTS.COLOUR) return this.#writeBase(port - VGA_PORTS.BASE, value);
    const offset = this.#crtcOffset(port);
    if (offset === CrtcPort.INDEX) this.#crtcIndex = value;
    else if (offset === CrtcPort.DATA) this.#writeCrtc(this.#crtcIndex & 31, value);
    else if (offset === CrtcPort.STATUS) this.#feature = value & 0x10;
  }

  save(): Omit<SavedVga, 'latch' | 'vbe' | 'vbeIndex'> {
    const { mask, readIndex, writeIndex, part, state, pending, colours } = this.dac;
    return {
      sequencer: [...this.sequencer],
      graphics: [...this.graphics],
      crtc: [...this.crtc],
      attribute: [...this.attribute],
      indexes: [this.#sequencerIndex, this.#graphicsIndex, this.#crtcIndex, this.attributeIndex],
      attributeData: this.#attributeData,
      misc: this.#misc,
      feature: this.#feature,
      colours: [...colours],
      dac: { mask, readIndex, writeIndex, part, state, pending: [...pending] },
    };
  }

  load(saved: SavedVga): void {
    this.sequencer.set(saved.sequencer);
    this.graphics.set(saved.graphics);
    this.crtc.set(saved.crtc);
    this.attribute.set(saved.attribute);
    [this.#sequencerIndex, this.#graphicsIndex, this.#crtcIndex, this.attributeIndex] = saved.indexes as [number, number, number, number];
    this.#attributeData = saved.attributeData;
    this.#misc = saved.misc;
    this.#feature = saved.feature;
    this.dac.colours.set(saved.colours);
    const { pending, ...rest } = saved.dac;
    this.dac.pending.set(pending);
    Object.assign(this.dac, rest);
  }

  /** Offset in the group of the CRT controller that is in use, or -1 in the other one. */
  #crtcOffset(port: number): number {
    const base = this.#misc & Misc.COLOUR ? VGA_PORTS.COLOUR : VGA_PORTS.MONOCHROME;
    return port >= base && port < base + VGA_PORTS.GROUP ? port - base : -1;
  }

  #status(): number {
    const now = this.clock.nowNs() % FRAME_NS;
    if (now >= RETRACE_NS) return Status.RETRACE | Status.BLANK;
    return now % LINE_NS >= BLANK_NS ? Status.BLANK : 0;
  }

  #readBase(offset: number): number {
    const { dac } = this;
    switch (offset) {
      case VgaPort.ATTRIBUTE:
        return this.#attributeData ? 0 : this.attributeIndex;
      case VgaPort.ATTRIBUTE_READ:
        return this.attribute[this.attributeIndex & 31] ?? 0;
      case VgaPort.MISC_WRITE:
        return 0;
      case VgaPort.SEQUENCER_INDEX:
        return this.#sequencerIndex;
      case VgaPort.SEQUENCER:
        return this.sequencer[this.#sequencerIndex & 7]!;
      case VgaPort.DAC_MASK:
        return dac.mask;
      case VgaPort.DAC_READ_INDEX:
        return dac.state;
      case VgaPort.DAC_WRITE_INDEX:
        return dac.writeIndex;
      case VgaPort.DAC:
        return dac.read();
      case VgaPort.FEATURE_READ:
        return this.#feature;
      case VgaPort.MISC_READ:
        return this.#misc;
      case VgaPort.GRAPHICS_INDEX:
        return this.#graphicsIndex;
      case VgaPort.GRAPHICS:
        return this.graphics[this.#graphicsIndex & 15]!;
      default:
        return 0xff;
    }
  }

  #writeBase(offset: number, value: number): void {
    const { dac } = this;
    switch (offset) {
      case VgaPort.ATTRIBUTE:
        return this.#writeAttribute(value);
      case VgaPort.MISC_WRITE:
        this.#misc = value & ~0x10;
        return;
      case VgaPort.SEQUENCER_INDEX:
        this.#sequencerIndex = value & 7;
        return;
      case VgaPort.SEQUENCER:
        this.sequencer[this.#sequencerIndex] = value & SEQUENCER_MASKS[this.#sequencerIndex]!;
        return;
      case VgaPort.DAC_MASK:
        dac.mask = value;
        return;
      case VgaPort.DAC_READ_INDEX:
        return dac.selectRead(value);
      case VgaPort.DAC_WRITE_INDEX:
        return dac.selectWrite(value);
      case VgaPort.DAC:
        return dac.write(value, this.vbe.dac8);
      case VgaPort.GRAPHICS_INDEX:
        this.#graphicsIndex = value & 15;
        return;
      case VgaPort.GRAPHICS:
        this.graphics[this.#graphicsIndex] = value & GRAPHICS_MASKS[this.#graphicsIndex]!;
        return;
      default:
    }
  }

  #writeAttribute(value: number): void {
    if (!this.#attributeData) this.attributeIndex = value & 0x3f;
    else {
      const index = this.attributeIndex & 31;
      // While it drives the screen the palette cannot be written.
      if (index < Attribute.MODE) {
        if ((this.attributeIndex & PALETTE_SOURCE) === 0) this.attribute[index] = value & 0x3f;
      } else if (index < Attribute.COUNT) this.attribute[index] = value & ATTRIBUTE_MASKS[index - Attribute.MODE]!;
    }
    this.#attributeData = !this.#attributeData;
  }

  #writeCrtc(index: number, value: number): void {
    const guarded = (this.crtc[Crtc.RETRACE_END]! & CRTC_PROTECT) !== 0 && index <= Crtc.OVERFLOW;
    if (!guarded) this.crtc[index] = value;
    else if (index === Crtc.OVERFLOW) this.crtc[index] = (this.crtc[index]! & ~LINE_COMPARE_BIT) | (value & LINE_COMPARE_BIT);
  }
}
