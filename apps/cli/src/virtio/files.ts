import { DeviceError } from '@nestvm/devices';
import { VirtioFiles } from '@nestvm/devices/virtio';
import { FileServer } from '@nestvm/folders';
import { UsageError } from '../errors.js';
import { reasonOf } from '../files.js';
import { HostFolder } from '../folders/host-folder.js';
import type { FolderSpec } from '../options/folders.js';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';

/** A shared folder of the host. */
export function createFiles(spec: Extract<VirtioSpec, { kind: 'files' }>, name: string, { options, onClose }: VirtioContext): VirtioFiles {
  const folder = options.folders.find(({ id }) => id === spec.fsdev);
  if (folder === undefined)
    throw new UsageError(
      `-device virtio-9p,fsdev=${spec.fsdev}: no -fsdev has this id; add -fsdev local,id=${spec.fsdev},path=F,security_model=none`,
    );
  const tree = openFolder(folder);
  onClose(() => tree.close());
  try {
    return new VirtioFiles({ name, packed: spec.packed, tag: spec.tag, server: new FileServer({ tree, readOnly: folder.readOnly }) });
  } catch (error) {
    if (error instanceof DeviceError) throw new UsageError(`${folder.option}: ${error.message}`);
    throw error;
  }
}

function openFolder({ option, path, ownership }: FolderSpec): HostFolder {
  try {
    return new HostFolder(path, ownership);
  } catch (error) {
    throw new UsageError(`${option}: ${path}: ${reasonOf(error)}; share a folder that there is`);
  }
}
