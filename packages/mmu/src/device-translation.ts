/**
 * The last translation that led to a device: TLB banks hold memory alone, and programs that drive a device ask for the same page again and again. It is good
 * until anything is forgotten, like an entry of the bank that it was made in. Not where a second stage decides it, or a test wants each translation afresh.
 */
export class DeviceTranslation {
  /** Physical page. */
  page = 0;
  private lo = 0;
  private hi = 0;
  private access = -1;
  private user = false;
  private bank = 0;
  private epoch = 0;

  /** Whether this is the page of an access from the bank in force. */
  holds(lo: number, hi: number, access: number, user: boolean, bank: number, epoch: number): boolean {
    return (lo & ~0xfff) === this.lo && hi === this.hi && access === this.access && user === this.user && bank === this.bank && epoch === this.epoch;
  }

  /** Notes where an access came to. */
  note(lo: number, hi: number, access: number, user: boolean, bank: number, epoch: number, page: number): void {
    this.lo = lo & ~0xfff;
    this.hi = hi;
    this.access = access;
    this.user = user;
    this.bank = bank;
    this.epoch = epoch;
    this.page = page;
  }

  /** Forgets it. */
  clear(): void {
    this.access = -1;
  }
}
