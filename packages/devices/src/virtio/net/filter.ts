import { flag, integer, list, record, type Saved, unsigned } from '../../saved-state.js';
import { NetAck } from './registers.js';

const MOST_ADDRESSES = 64;

export const filterSchema = record({
  modes: list(flag, { length: 6 }),
  unicast: list(unsigned(48), { max: MOST_ADDRESSES }),
  multicast: list(unsigned(48), { max: MOST_ADDRESSES }),
  overflow: list(flag, { length: 2 }),
  vlans: list(integer(0, 4095), { max: 4096 }),
});

const PROMISCUOUS = 0;
const ALL_MULTICAST = 1;
const ALL_UNICAST = 2;
const NO_MULTICAST = 3;
const NO_UNICAST = 4;
const NO_BROADCAST = 5;

/** Which frames a guest wants ("VIRTIO", Packet Receive Filtering, MAC address filtering, VLAN filtering). */
export class ReceiveFilter {
  /** By the command of the control queue that sets it. */
  readonly #modes = [true, false, false, false, false, false];
  #unicast = new Set<number>();
  #multicast = new Set<number>();
  /** Tables that did not fit: everything of that kind passes. */
  #overflow = [false, false];
  readonly #vlans = new Set<number>();

  reset(): void {
    this.load({ modes: [true, false, false, false, false, false], unicast: [], multicast: [], overflow: [false, false], vlans: [] });
  }

  /** Whether a frame is for a guest with the address `mac`. `vlanFiltering`: tagged frames pass only when their VLAN was added. */
  accepts(frame: Uint8Array, mac: number, vlanFiltering: boolean): boolean {
    if (vlanFiltering && frame[12] === 0x81 && frame[13] === 0 && !this.#vlans.has(((frame[14]! & 15) << 8) | frame[15]!)) return false;
    const modes = this.#modes;
    if (modes[PROMISCUOUS]) return true;
    const target = addressAt(frame, 0);
    if (target === 0xffff_ffff_ffff) return !modes[NO_BROADCAST];
    if (frame[0]! & 1) return !modes[NO_MULTICAST] && (modes[ALL_MULTICAST]! || this.#overflow[1]! || this.#multicast.has(target));
    return !modes[NO_UNICAST] && (modes[ALL_UNICAST]! || target === mac || this.#overflow[0]! || this.#unicast.has(target));
  }

  /** Command of class RX. */
  setMode(command: number, data: Uint8Array): number {
    if (command >= this.#modes.length || data.length < 1) return NetAck.ERR;
    this.#modes[command] = data[0] !== 0;
    return NetAck.OK;
  }

  /** Both tables of MAC_TABLE_SET. */
  setAddresses(data: Uint8Array): number {
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    const tables: number[][] = [];
    for (let i = 0, at = 0; i < 2; i++) {
      if (at + 4 > data.length) return NetAck.ERR;
      const count = view.getUint32(at, true);
      if (count > (data.length - at - 4) / 6) return NetAck.ERR;
      tables.push(Array.from({ length: count }, (_, n) => addressAt(data, at + 4 + 6 * n)));
      at += 4 + 6 * count;
    }
    const [unicast, multicast] = tables as [number[], number[]];
    this.#overflow = [unicast.length > MOST_ADDRESSES, multicast.length > MOST_ADDRESSES];
    this.#unicast = new Set(this.#overflow[0] ? [] : unicast);
    this.#multicast = new Set(this.#overflow[1] ? [] : multicast);
    return NetAck.OK;
  }

  /** Command of class VLAN. */
  setVlan(command: number, data: Uint8Array): number {
    const id = (data[0] ?? 0) | ((data[1] ?? 0xff) << 8);
    if (command > 1 || data.length < 2 || id > 4095) return NetAck.ERR;
    if (command === 0) this.#vlans.add(id);
    else this.#vlans.delete(id);
    return NetAck.OK;
  }

  save(): Saved<typeof filterSchema> {
    return {
      modes: [...this.#modes],
      unicast: [...this.#unicast],
      multicast: [...this.#multicast],
      overflow: [...this.#overflow],
      vlans: [...this.#vlans],
    };
  }

  /** Takes a checked state. */
  load(state: Saved<typeof filterSchema>): void {
    this.#modes.splice(0, 6, ...state.modes);
    this.#unicast = new Set(state.unicast);
    this.#multicast = new Set(state.multicast);
    this.#overflow = [...state.overflow];
    this.#vlans.clear();
    for (const id of state.vlans) this.#vlans.add(id);
  }
}

/** A MAC address as a number. */
export function addressAt(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = 0; i < 6; i++) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}
