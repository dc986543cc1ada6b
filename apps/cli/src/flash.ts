import type { Disk } from '@nestvm/disks';
import type { FlashConfig } from '@nestvm/machine';
import { openDisk } from './disk.js';
import { UsageError } from './errors.js';
import type { Media } from './media.js';
import type { RunOptions } from './options/config.js';

/** Largest image that is read into a flash. */
const LARGEST = 16 * 2 ** 20;

/** The flash of a run, and the images under it. */
export class FlashParts {
  private readonly disks: Disk[] = [];

  /** Reads what `-drive if=pflash` names, by unit; throws `UsageError`. What is open by then stays so until `close`. */
  create({ drives, firmware }: RunOptions, media: Media): FlashConfig[] {
    const units: FlashConfig[] = [];
    const flash = drives.filter((drive) => drive.flash !== undefined);
    const first = flash[0];
    if (first && firmware.bios !== undefined) throw new UsageError(`${first.option}: -bios ${firmware.bios} is firmware as well; give one of them`);
    for (const drive of flash.toSorted((a, b) => Number(a.flash === -1) - Number(b.flash === -1))) {
      const unit = drive.flash === -1 ? [...units, undefined].findIndex((it) => it === undefined) : drive.flash!;
      if (units[unit]) throw new UsageError(`${drive.option}: unit ${unit} is taken already; give unit=0 for the firmware, unit=1 for its variables`);
      const disk = openDisk(drive);
      this.disks.push(disk);
      media.noteWritten(disk);
      if (disk.sizeBytes > LARGEST || disk.sizeBytes % 4096 !== 0)
        throw new UsageError(`${drive.option}: ${disk.sizeBytes} bytes; a flash has whole blocks of 4 KiB, at most 16 MiB`);
      const bytes = new Uint8Array(disk.sizeBytes);
      disk.read(0, bytes);
      units[unit] = {
        file: { name: drive.path, bytes },
        readOnly: disk.readOnly,
        onStore: (offset, stored) => disk.write(offset, stored),
      };
    }
    if (Array.from(units).includes(undefined as never))
      throw new UsageError(
        `${first!.option}: there is no flash with unit=0, which the CPU starts in; add -drive if=pflash,unit=0,readonly=on,file=FILE`,
      );
    return units;
  }

  close(): void {
    for (const disk of this.disks.splice(0)) disk.close();
  }
}
