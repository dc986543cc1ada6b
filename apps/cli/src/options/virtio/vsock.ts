import { UsageError } from '../../errors.js';
import { parseInteger } from '../text.js';
import type { VirtioRow } from './row.js';

/** What a socket device is told. */
export interface VsockSpec {
  readonly kind: 'vsock';
  readonly guestCid: number;
  /** Unix socket of the host's side; ports of the host are at PATH_PORT. */
  readonly path?: string;
}

/** `vhost-vsock`, which has QEMU's name, though no kernel of a host is behind it. */
export const vsockRow: VirtioRow<VsockSpec> = {
  stem: 'vhost-vsock',
  keys: ['guest-cid', 'path'],
  help: 'sockets between guest and host, there on a Unix socket',
  modern: true,
  parse: (option, values) => {
    const cid = values.get('guest-cid');
    if (cid === undefined) throw new UsageError(`${option}: guest-cid= is missing; write ${option},guest-cid=3,path=PATH`);
    const path = values.get('path');
    return { kind: 'vsock', guestCid: parseInteger(`${option},guest-cid`, cid, 3, 0xffff_fffe), ...(path === undefined ? {} : { path }) };
  },
};
