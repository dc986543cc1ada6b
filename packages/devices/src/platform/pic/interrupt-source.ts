import { flag, record, type SavableDevice, type Saved, unsigned } from '../../saved-state.js';
import type { Pic } from './device.js';

const schema = record({ nmi: flag, smi: flag, tpr: unsigned(4) });
/** Saved state of the pins. */
export type SavedPicInterruptSource = Saved<typeof schema>;

/** Stands where a local APIC would for a CPU without one: INTR is the PIC's output, NMI and SMI are plain pins. */
export class PicInterruptSource implements SavableDevice<SavedPicInterruptSource> {
  msrLo = 0;
  msrHi = 0;
  #nmi = false;
  #smi = false;
  #wake: () => void = () => {};

  /** Takes over the PIC's INT output. */
  constructor(readonly pic: Pic) {
    pic.setOutput((level) => {
      if (level) this.#wake();
    });
  }

  intr(): boolean {
    return this.pic.intr;
  }

  acknowledge(): number {
    return this.pic.acknowledge();
  }

  takeNmi(): boolean {
    const taken = this.#nmi;
    this.#nmi = false;
    return taken;
  }

  takeSmi(): boolean {
    const taken = this.#smi;
    this.#smi = false;
    return taken;
  }

  takeInit(): boolean {
    return false;
  }

  takeSipi(): number {
    return -1;
  }

  readTpr(): number {
    return this.#tpr;
  }

  writeTpr(value: number): void {
    this.#tpr = value & 15;
  }

  /** No APIC, no APIC MSRs: #GP. */
  readMsr(_index: number): boolean {
    return false;
  }

  writeMsr(_index: number): boolean {
    return false;
  }

  setWake(wake: () => void): void {
    this.#wake = wake;
  }

  /** An edge on the NMI pin. */
  nmi(): void {
    this.#nmi = true;
    this.#wake();
  }

  /** An edge on the SMI pin. */
  smi(): void {
    this.#smi = true;
    this.#wake();
  }

  save(): SavedPicInterruptSource {
    return { nmi: this.#nmi, smi: this.#smi, tpr: this.#tpr };
  }

  load(saved: unknown): void {
    const state = schema.check(saved, 'pic-pins');
    this.#nmi = state.nmi;
    this.#smi = state.smi;
    this.#tpr = state.tpr;
    this.#wake();
  }

  #tpr = 0;
}
