import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VirtioVsock } from '@nestvm/devices/virtio';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';
import { UnixVsock } from './unix-vsock.js';

/** A socket device whose host side is a Unix socket: the one that was named, or one in the folder for temporary files. */
export function createVsock(spec: Extract<VirtioSpec, { kind: 'vsock' }>, name: string, { onOpen, onClose }: VirtioContext): VirtioVsock {
  const { guestCid, packed } = spec;
  const path = spec.path ?? join(tmpdir(), `nestvm-vsock-${guestCid}`);
  const backend = new UnixVsock('-device vhost-vsock', path);
  const device = new VirtioVsock({ name, guestCid, packed, backend });
  onOpen(async () => {
    await backend.open(device);
    if (spec.path === undefined) process.stderr.write(`nestvm: the host's side of CID ${guestCid} is at ${path}\n`);
  });
  onClose(() => backend.close());
  return device;
}
