/**
 * Between a device and what happens outside of the machine: the end of a request, a frame that comes. While the machine stands still the gate is shut, so that
 * memory and registers stay as they are saved; what came is done when the machine goes on.
 */
export class Gate {
  private shut = false;
  private late: (() => void)[] = [];

  /** The machine stands still. */
  get closed(): boolean {
    return this.shut;
  }

  /** Does a step now, or when the machine goes on. */
  pass(step: () => void): void {
    if (this.shut) this.late.push(step);
    else step();
  }

  close(): void {
    this.shut = true;
  }

  open(): void {
    this.shut = false;
    for (const step of this.late.splice(0)) this.pass(step);
  }

  /** Another state was loaded: what waited belongs to the one before. */
  forget(): void {
    this.late = [];
  }
}
