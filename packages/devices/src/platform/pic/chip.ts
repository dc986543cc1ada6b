import { CASCADE_INPUT, Icw1, Icw4, InitStep, Ocw2, Ocw3 } from './registers.js';
import type { SavedPicChip } from './state.js';

/** One 8259A. Its owner calls `changed` back after anything that may alter the INT output. */
export class PicChip {
  request = 0;
  service = 0;
  mask = 0;
  /** Levels of the eight inputs. */
  inputs = 0;
  /** How often each input has risen since the start, for `info irq`: what a machine has lived through is not its state, and is not saved. */
  readonly raised = new Float64Array(8);
  elcr = 0;
  vectorBase = 0;
  /** The input with the lowest priority is this one minus 1: 0 in fixed priority mode. */
  lowestPriority = 0;
  initStep: number = InitStep.NONE;
  single = false;
  needsIcw4 = false;
  levelMode = false;
  readService = false;
  poll = false;
  specialMask = false;
  autoEoi = false;
  rotateOnAutoEoi = false;
  specialFullyNested = false;

  constructor(
    readonly isMaster: boolean,
    readonly elcrMask: number,
    readonly changed: () => void,
  ) {}

  /** Power-on: every register 0, the inputs keep their levels. */
  reset(): void {
    this.initialize();
    this.request = 0;
    this.elcr = 0;
    this.vectorBase = 0;
    this.initStep = InitStep.NONE;
    this.single = this.needsIcw4 = this.levelMode = false;
  }

  setInput(input: number, level: 0 | 1): void {
    const bit = 1 << input;
    const rose = level === 1 && (this.inputs & bit) === 0;
    if (rose) this.raised[input]++;
    this.inputs = level === 1 ? this.inputs | bit : this.inputs & ~bit;
    if (this.isLevel(input)) this.request = level === 1 ? this.request | bit : this.request & ~bit;
    else if (rose) this.request |= bit;
    this.changed();
  }

  /** The input that deserves service now, or -1. */
  pending(): number {
    const wanting = this.request & ~this.mask;
    if (wanting === 0) return -1;
    let inService = this.service;
    if (this.specialMask) inService &= ~this.mask;
    if (this.specialFullyNested && this.isMaster) inService &= ~(1 << CASCADE_INPUT);
    const priority = this.#highest(wanting);
    return priority < this.#highest(inService) ? (priority + this.lowestPriority) & 7 : -1;
  }

  /** Takes `input` into service, as the INTA cycle does. */
  serve(input: number): void {
    const bit = 1 << input;
    if (!this.autoEoi) this.service |= bit;
    else if (this.rotateOnAutoEoi) this.lowestPriority = (input + 1) & 7;
    if (!this.isLevel(input)) this.request &= ~bit;
  }

  read(offset: number): number {
    if (this.poll) return this.#pollRead();
    if (offset === 1) return this.mask;
    return this.readService ? this.service : this.request;
  }

  write(offset: number, value: number): void {
    if (offset === 1) this.#writeData(value);
    else if (value & Icw1.IS_ICW1) this.#writeIcw1(value);
    else if (value & Ocw3.IS_OCW3) this.#writeOcw3(value);
    else this.#writeOcw2(value >> 5, value & 7);
    this.changed();
  }

  writeElcr(value: number): void {
    this.elcr = value & this.elcrMask;
    this.#followLevels();
    this.changed();
  }

  isLevel(input: number): boolean {
    return this.levelMode || (this.elcr & (1 << input)) !== 0;
  }

  save(): SavedPicChip {
    const { request, service, mask, inputs, elcr, vectorBase, lowestPriority, initStep, single, needsIcw4, levelMode } = this;
    const { readService, poll, specialMask, autoEoi, rotateOnAutoEoi, specialFullyNested } = this;
    const words = { request, service, mask, inputs, elcr, vectorBase, lowestPriority, initStep, single, needsIcw4, levelMode };
    return { ...words, readService, poll, specialMask, autoEoi, rotateOnAutoEoi, specialFullyNested };
  }

  load(saved: SavedPicChip): void {
    Object.assign(this, saved);
  }

  /** 0-7, the smaller the more urgent; 8 for none. */
  #highest(bits: number): number {
    for (let priority = 0; priority < 8; priority++) if (bits & (1 << ((priority + this.lowestPriority) & 7))) return priority;
    return 8;
  }

  #followLevels(): void {
    for (let input = 0; input < 8; input++) {
      if (this.isLevel(input)) this.request = (this.request & ~(1 << input)) | (this.inputs & (1 << input));
    }
  }

  #pollRead(): number {
    this.poll = false;
    const input = this.pending();
    if (input < 0) return 7;
    this.serve(input);
    this.changed();
    return 0x80 | input;
  }

  /** What ICW1 resets: edge requests, mask, service, priorities, and the modes of OCW3 and ICW4. */
  initialize(): void {
    this.request = 0;
    this.service = 0;
    this.mask = 0;
    this.lowestPriority = 0;
    this.readService = this.poll = this.specialMask = false;
    this.autoEoi = this.rotateOnAutoEoi = this.specialFullyNested = false;
  }

  #writeIcw1(value: number): void {
    this.initialize();
    this.needsIcw4 = (value & Icw1.NEEDS_ICW4) !== 0;
    this.single = (value & Icw1.SINGLE) !== 0;
    this.levelMode = (value & Icw1.LEVEL) !== 0;
    this.initStep = InitStep.ICW2;
    this.#followLevels();
  }

  #writeOcw3(value: number): void {
    if (value & Ocw3.POLL) this.poll = true;
    if (value & Ocw3.READ_REGISTER) this.readService = (value & Ocw3.READ_ISR) !== 0;
    if (value & Ocw3.SET_SPECIAL_MASK) this.specialMask = (value & Ocw3.SPECIAL_MASK) !== 0;
  }

  #writeOcw2(command: number, level: number): void {
    switch (command) {
      case Ocw2.CLEAR_ROTATE_IN_AUTO_EOI:
      case Ocw2.SET_ROTATE_IN_AUTO_EOI:
        this.rotateOnAutoEoi = command === Ocw2.SET_ROTATE_IN_AUTO_EOI;
        break;
      case Ocw2.EOI:
      case Ocw2.ROTATE_ON_EOI: {
        const priority = this.#highest(this.service);
        if (priority === 8) break;
        const input = (priority + this.lowestPriority) & 7;
        this.service &= ~(1 << input);
        if (command === Ocw2.ROTATE_ON_EOI) this.lowestPriority = (input + 1) & 7;
        break;
      }
      case Ocw2.SPECIFIC_EOI:
      case Ocw2.ROTATE_ON_SPECIFIC_EOI:
        this.service &= ~(1 << level);
        if (command === Ocw2.ROTATE_ON_SPECIFIC_EOI) this.lowestPriority = (level + 1) & 7;
        break;
      case Ocw2.SET_PRIORITY:
        this.lowestPriority = (level + 1) & 7;
        break;
    }
  }

  #writeData(value: number): void {
    switch (this.initStep) {
      case InitStep.ICW2:
        this.vectorBase = value & 0xf8;
        this.initStep = !this.single ? InitStep.ICW3 : this.needsIcw4 ? InitStep.ICW4 : InitStep.NONE;
        break;
      case InitStep.ICW3:
        this.initStep = this.needsIcw4 ? InitStep.ICW4 : InitStep.NONE;
        break;
      case InitStep.ICW4:
        this.autoEoi = (value & Icw4.AUTO_EOI) !== 0;
        this.specialFullyNested = (value & Icw4.SPECIAL_FULLY_NESTED) !== 0;
        this.initStep = InitStep.NONE;
        break;
      default:
        this.mask = value;
    }
  }
}
