import { VirtioBlock, type VirtioDevice, VirtioNetwork } from '@nestvm/devices/virtio';
import { type HttpFetch, openHttpSource, openRemoteImage } from '@nestvm/disks';
import { FinishingNetwork, type FrameSocket, WebSocketNetwork } from '@nestvm/networks';
import type { MachineOrder } from './protocol.js';

/** What a machine has outside of the page. */
export interface Surroundings {
  readonly devices: readonly VirtioDevice[];
  close(): void;
}

const ask: HttpFetch = (url, init) => fetch(url, init);

async function openDisk(url: string): Promise<VirtioBlock> {
  const disk = await openRemoteImage(url, { open: (address) => openHttpSource(address, { fetch: ask }) });
  if (disk.sizeBytes === 0) throw new Error(`${url}: the file has no bytes; is it the image?`);
  return new VirtioBlock({ name: 'disk', disk });
}

/** An address of no vendor, for each page another: guests on one relay must differ. */
function createMac(): Uint8Array {
  const mac = crypto.getRandomValues(new Uint8Array(6));
  mac[0] = 0x52;
  return mac;
}

function openNetwork(url: string): { device: VirtioNetwork; close: () => void } {
  const network = new WebSocketNetwork({
    connect: () => new WebSocket(url) as unknown as FrameSocket,
    after: (milliseconds, call) => {
      const timer = setTimeout(() => call(), milliseconds);
      return () => clearTimeout(timer);
    },
  });
  return { device: new VirtioNetwork({ name: 'card', backend: new FinishingNetwork(network), mac: createMac() }), close: () => network.close() };
}

/** Opens the disk and the network of an order; rejects with the reason when that cannot be. */
export async function openSurroundings({ disk, relay }: MachineOrder): Promise<Surroundings> {
  const devices: VirtioDevice[] = disk === undefined ? [] : [await openDisk(disk)];
  const network = relay === undefined ? undefined : openNetwork(relay);
  if (network) devices.push(network.device);
  return { devices, close: () => network?.close() };
}
