import type { BlockBackend } from '@nestvm/devices/virtio';
import { openDrive as open } from '../disk.js';
import { UsageError } from '../errors.js';
import type { ErrorPolicy } from '../options/block-errors.js';
import type { DriveSpec } from '../options/drives.js';
import type { VirtioContext } from './context.js';

/** Opens the drive that a device names; throws `UsageError`. `readOnly` and `errors`: whatever the drive says. */
export function openDrive(
  option: string,
  id: string,
  { options, media, onClose }: VirtioContext,
  { readOnly, errors }: { readonly readOnly?: boolean; readonly errors?: ErrorPolicy } = {},
): { readonly drive: DriveSpec; readonly disk: BlockBackend } {
  const drive = options.drives.find((each) => each.id === id);
  if (drive === undefined && media.hasNode(id)) {
    const node = media.takeNode(id, option);
    onClose(() => void delete node.user);
    return { drive: node.drive, disk: media.guard(node.drive, node.disk, errors) };
  }
  if (drive === undefined) throw new UsageError(`${option},drive=${id}: no such drive; add -drive file=F,if=none,id=${id}`);
  const disk = open(readOnly ? { ...drive, readOnly } : drive);
  onClose(() => disk.close());
  return { drive, disk: media.guard(drive, disk, errors) };
}
