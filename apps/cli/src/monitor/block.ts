import { VirtioNetwork } from '@nestvm/devices/virtio';
import type { Machine } from '@nestvm/machine';
import type { MonitorTarget } from './target.js';

/** `info block`. */
export function blockLines({ media }: MonitorTarget): string[] {
  const drives = media.list();
  if (drives.length === 0) return ['no drives'];
  return drives.flatMap(({ name, path, format, readOnly, removable, trayOpen, locked }) => [
    `${name}: ${path === undefined ? '[not inserted]' : `${path} (${format ?? 'format by its first bytes'}${readOnly ? ', read-only' : ''})`}`,
    ...(removable ? [`    Removable device: ${locked ? 'locked' : 'not locked'}, tray ${trayOpen ? 'open' : 'closed'}`] : []),
  ]);
}

/** `info network`. */
export function networkLines({ platform }: Machine): string[] {
  const cards = platform.virtio.filter(({ device }) => device instanceof VirtioNetwork);
  return cards.length === 0 ? ['no network cards'] : cards.map(({ device, bus }) => `${device.name}: virtio-net on ${bus ?? 'its default bus'}`);
}
