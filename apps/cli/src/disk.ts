import { type Disk, DiskError, OverlayDisk, openImage, type RemoteDisk } from '@nestvm/disks';
import { ArrivingDisk } from './blocks/arriving-disk.js';
import { openNode } from './blocks/open-node.js';
import { UsageError } from './errors.js';
import { imageHost } from './host-images.js';
import type { DriveSpec } from './options/drives.js';
import { isRemote } from './remote-drives.js';

/** The image of a drive with all that it is built upon, opened unless it is already; throws `UsageError`. */
export function openDrive(drive: DriveSpec): Disk | RemoteDisk {
  if (drive.opened === undefined && isRemote(drive.path))
    throw new UsageError(`${drive.option}: ${drive.path}: images on web servers are opened when the machine starts; name it on the command line`);
  return drive.opened ?? openDisk(drive);
}

/** Opens the image of a drive in files of the host with all that it is built upon; throws `UsageError`. */
export function openDisk(drive: DriveSpec): Disk {
  const { readOnly, snapshot, arriving } = drive;
  // What is never written does not change under another process that has it.
  if (!arriving || readOnly || snapshot || drive.node?.readOnly) return openNow(drive);
  // Until the machine is here, the process that has it writes the image.
  const disk = new ArrivingDisk((only) => openNow({ ...drive, readOnly: only, unlocked: only || drive.unlocked === true }));
  arriving.add(disk);
  return disk;
}

function openNow({ option, path, format, readOnly, snapshot, unlocked, node }: DriveSpec): Disk {
  if (node) return openNode({ ...node, readOnly: readOnly || node.readOnly }, unlocked);
  try {
    const disk = openImage(imageHost(option, unlocked), path, { readOnly: readOnly || snapshot, ...(format === undefined ? {} : { format }) });
    if (disk.sizeBytes > 0) return snapshot && !readOnly ? new OverlayDisk(disk) : disk;
    disk.close();
    throw new UsageError(`${option}: the disk has no sectors; make an image with 'qemu-img create' or 'truncate -s 1G'`);
  } catch (error) {
    if (error instanceof DiskError) throw new UsageError(`${option}: ${error.message}`);
    throw error;
  }
}
