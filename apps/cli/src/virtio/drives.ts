import type { Disk, RemoteDisk } from '@nestvm/disks';
import { openDrive as open } from '../disk.js';
import { UsageError } from '../errors.js';
import type { DriveSpec } from '../options/drives.js';
import type { VirtioContext } from './context.js';

/** Opens the drive that a device names; throws `UsageError`. `readOnly`: whatever the drive says. */
export function openDrive(
  option: string,
  id: string,
  { options, onClose }: VirtioContext,
  readOnly = false,
): { readonly drive: DriveSpec; readonly disk: Disk | RemoteDisk } {
  const drive = options.drives.find((each) => each.id === id);
  if (drive === undefined) throw new UsageError(`${option},drive=${id}: no such drive; add -drive file=F,if=none,id=${id}`);
  const disk = open(readOnly ? { ...drive, readOnly } : drive);
  onClose(() => disk.close());
  return { drive, disk };
}
