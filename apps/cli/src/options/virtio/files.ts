import { UsageError } from '../../errors.js';
import type { VirtioRow } from './row.js';

/** What a shared folder's device is told. */
export interface FilesSpec {
  readonly kind: 'files';
  /** Id of its folder. */
  readonly fsdev: string;
  readonly tag: string;
}

/** `virtio-9p`. */
export const filesRow: VirtioRow<FilesSpec> = {
  stem: 'virtio-9p',
  keys: ['fsdev', 'mount_tag'],
  help: 'a shared folder on an -fsdev',
  parse: (option, values) => {
    const fsdev = values.get('fsdev');
    const tag = values.get('mount_tag');
    if (fsdev === undefined || tag === undefined)
      throw new UsageError(
        `${option}: ${fsdev === undefined ? 'fsdev=' : 'mount_tag='} is missing; write -fsdev local,id=f0,path=F,security_model=none ${option},fsdev=f0,mount_tag=share`,
      );
    return { kind: 'files', fsdev, tag };
  },
};
