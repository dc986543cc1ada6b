import type { DiskFile } from '@nestvm/disks';

/** When a file that injects errors has one. */
export interface FaultRule {
  readonly event: 'read' | 'write' | 'flush';
  readonly code: 'EIO' | 'ENOSPC' | 'EINVAL' | 'EPERM';
  /** Only where this sector of 512 bytes is touched; absent: anywhere. */
  readonly sector?: number;
  /** The first time only. */
  readonly once: boolean;
}

const SECTOR = 512;

/** A file that fails where its rules say: for seeing what guests make of it. */
export class FaultFile implements DiskFile {
  private readonly spent = new Set<FaultRule>();

  constructor(
    private readonly below: DiskFile,
    private readonly rules: readonly FaultRule[],
  ) {}

  get sizeBytes(): number {
    return this.below.sizeBytes;
  }

  read(offset: number, into: Uint8Array): void {
    this.check('read', offset, into.length);
    this.below.read(offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.check('write', offset, from.length);
    this.below.write(offset, from);
  }

  flush(): void {
    this.check('flush', 0, Infinity);
    this.below.flush();
  }

  truncate(sizeBytes: number): void {
    this.below.truncate(sizeBytes);
  }

  close(): void {
    this.below.close();
  }

  private check(event: FaultRule['event'], offset: number, length: number): void {
    const hit = this.rules.find((rule) => {
      if (rule.event !== event || this.spent.has(rule)) return false;
      const at = (rule.sector ?? 0) * SECTOR;
      return rule.sector === undefined || (at < offset + length && at + SECTOR > offset);
    });
    if (!hit) return;
    if (hit.once) this.spent.add(hit);
    throw Object.assign(new Error(`blkdebug: ${hit.code} at byte ${offset}`), { code: hit.code });
  }
}
