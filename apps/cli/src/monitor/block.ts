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

const macText = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');

/** `info network`: each card with its network, then the networks without one. */
export function networkLines({ plugging, additions }: MonitorTarget): string[] {
  const networks = new Map(additions.networks.map(({ id, kind }) => [id, `${id}: type=${kind}`]));
  const lines = [...plugging.devices].flatMap(([spec, device]) => {
    if (spec.kind !== 'network') return [];
    const network = networks.get(spec.netdev);
    networks.delete(spec.netdev);
    const card = `${device.name}: type=nic,model=virtio-net-${spec.bus === 'pci' ? 'pci' : 'device'},macaddr=${macText(device.config.subarray(0, 6))}`;
    return [card, ...(network === undefined ? [] : [` \\ ${network}`])];
  });
  const all = [...lines, ...networks.values()];
  return all.length === 0 ? ['no network cards'] : all;
}
