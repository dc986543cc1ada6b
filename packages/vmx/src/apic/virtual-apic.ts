import type { Vmx } from '../vmx.js';

/** The virtual APIC of non-root operation: TPR shadow, virtualized accesses, virtual interrupts. */
export class VirtualApic {
  constructor(readonly vmx: Vmx) {}

  enter(): void {}
  leave(): void {}
  readMsr(_index: number, _length: number): boolean {
    return false;
  }
  writeMsr(_index: number, _length: number): boolean {
    return false;
  }
  takeNotification(_vector: number): boolean {
    return false;
  }
  serviceWrites(): boolean {
    return false;
  }
  deliver(): boolean {
    return false;
  }
}
