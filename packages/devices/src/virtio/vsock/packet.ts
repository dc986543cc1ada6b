import { VsockHeader as H, HOST_CID, VSOCK_STREAM } from './registers.js';

/** A packet's header as the device reads and writes it. Its ends are named by who they are, whoever sends. */
export interface VsockPacket {
  guestPort: number;
  hostPort: number;
  operation: number;
  flags: number;
  length: number;
  /** The sender's buffer, and how much of what came into it has gone on. */
  buffer: number;
  forwarded: number;
}

export const emptyPacket = (): VsockPacket => ({ guestPort: 0, hostPort: 0, operation: 0, flags: 0, length: 0, buffer: 0, forwarded: 0 });

/** What is wrong with a header besides. */
export type VsockAddressing = 'good' | 'other-type' | 'other-target' | 'other-source';

/** Reads the header of a packet from the guest. */
export function readPacket(view: DataView, guestCid: number, packet: VsockPacket): VsockAddressing {
  packet.guestPort = view.getUint32(H.SOURCE_PORT, true);
  packet.hostPort = view.getUint32(H.TARGET_PORT, true);
  packet.length = view.getUint32(H.LENGTH, true);
  packet.operation = view.getUint16(H.OPERATION, true);
  packet.flags = view.getUint32(H.FLAGS, true);
  packet.buffer = view.getUint32(H.BUFFER, true);
  packet.forwarded = view.getUint32(H.FORWARDED, true);
  if (view.getUint32(H.SOURCE_CID, true) !== guestCid || view.getUint32(H.SOURCE_CID + 4, true) !== 0) return 'other-source';
  if (view.getUint32(H.TARGET_CID, true) !== HOST_CID || view.getUint32(H.TARGET_CID + 4, true) !== 0) return 'other-target';
  return view.getUint16(H.TYPE, true) === VSOCK_STREAM ? 'good' : 'other-type';
}

/** Writes the header of a packet to the guest. */
export function writePacket(view: DataView, guestCid: number, packet: VsockPacket): void {
  view.setUint32(H.SOURCE_CID, HOST_CID, true);
  view.setUint32(H.SOURCE_CID + 4, 0, true);
  view.setUint32(H.TARGET_CID, guestCid, true);
  view.setUint32(H.TARGET_CID + 4, 0, true);
  view.setUint32(H.SOURCE_PORT, packet.hostPort, true);
  view.setUint32(H.TARGET_PORT, packet.guestPort, true);
  view.setUint32(H.LENGTH, packet.length, true);
  view.setUint16(H.TYPE, VSOCK_STREAM, true);
  view.setUint16(H.OPERATION, packet.operation, true);
  view.setUint32(H.FLAGS, packet.flags, true);
  view.setUint32(H.BUFFER, packet.buffer, true);
  view.setUint32(H.FORWARDED, packet.forwarded, true);
}
