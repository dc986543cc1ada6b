import { VirtioNetwork } from '@nestvm/devices/virtio';
import type { Machine } from '@nestvm/machine';
import { NetworkError } from '@nestvm/networks';
import type { Characters } from './characters/parts.js';
import { UsageError } from './errors.js';
import { reasonOf } from './files.js';
import type { Media } from './media.js';
import type { TlsCredentials } from './migration/tls.js';
import type { NetworkParts } from './networks/parts.js';
import { type CharacterSpec, parseChardev } from './options/character.js';
import { parseDrive } from './options/drives.js';
import { type NetworkSpec, parseForward, parseNetdev } from './options/networks.js';
import { type ObjectSpec, parseObject } from './options/objects.js';

/** What there is to add to. */
export interface AdditionsOptions {
  readonly networks: NetworkParts;
  readonly characters: () => Characters;
  /** Character devices by their id, the command line's and those that are added. */
  readonly named: Map<string, CharacterSpec>;
  readonly media: Media;
  /** Those of the command line. */
  readonly objects: readonly ObjectSpec[];
  readonly machine: () => Machine;
}

/** What devices are plugged into, where it comes and goes while the machine runs: networks, character devices and drives, by the words of the command line. */
export class Additions {
  private drives = 0;
  private readonly objects: Map<string, ObjectSpec>;

  constructor(private readonly options: AdditionsOptions) {
    this.objects = new Map(options.objects.map((object) => [object.id, object]));
  }

  /** Certificates by the names of their objects. */
  readonly credentials = (id: string): TlsCredentials | undefined => {
    const object = this.objects.get(id);
    return object?.kind === 'credentials' ? object.credentials : undefined;
  };

  /** `object_add`; throws `UsageError`. */
  addObject(text: string): void {
    const object = parseObject(text, 'object_add');
    if (this.objects.has(object.id)) throw new UsageError(`there is an object '${object.id}' already; give this one another id`);
    if (object.kind === 'dump') this.options.networks.addDump(object.dump);
    this.objects.set(object.id, object);
  }

  /** `object_del`; throws `UsageError`. */
  removeObject(id: string): void {
    const object = this.objects.get(id);
    if (!object) throw new UsageError(`there is no object '${id}'; there are ${[...this.objects.keys()].join(', ') || 'none'}`);
    if (object.kind === 'dump') this.options.networks.removeDump(id);
    this.objects.delete(id);
  }

  /** Every network, also those of the command line. */
  get networks(): readonly NetworkSpec[] {
    return this.options.networks.known;
  }

  /** `netdev_add`; rejects with `UsageError`. */
  addNetwork(text: string): Promise<void> {
    return this.options.networks.add(parseNetdev(text, 'netdev_add'));
  }

  /** `netdev_del`; throws `UsageError`. */
  removeNetwork(id: string): void {
    this.options.networks.remove(id);
  }

  /** `hostfwd_add [NETDEV] RULE`; rejects with `UsageError`. */
  async addForward(rule: string, netdev?: string): Promise<void> {
    const forward = parseForward(rule);
    try {
      await this.options.networks.user(netdev).addForward(forward);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(error instanceof NetworkError ? error.message : `port ${forward.hostPort}: ${reasonOf(error)}; choose another port`);
    }
  }

  /** `hostfwd_remove [NETDEV] tcp|udp:[HOST-ADDRESS]:PORT`; throws `UsageError`. */
  removeForward(rule: string, netdev?: string): void {
    const [, protocol, hostAddress, hostPort] = /^(?:(tcp|udp):)?([\d.]*):(\d+)$/.exec(rule) ?? [];
    if (hostPort === undefined) throw new UsageError(`'${rule}' names no forward; write tcp::8080`);
    const place = { protocol: protocol === 'udp' ? 'udp' : 'tcp', hostPort: Number(hostPort), ...(hostAddress ? { hostAddress } : {}) } as const;
    if (!this.options.networks.user(netdev).removeForward(place)) throw new UsageError(`there is no forward '${rule}'`);
  }

  /** `set_link NAME on|off`: of a card, or of the card on a network. Throws `UsageError`. */
  setLink(name: string, up: boolean): void {
    const cards = this.options.machine().platform.virtio.flatMap(({ device }) => (device instanceof VirtioNetwork ? [device] : []));
    const card = cards.find((each) => each.name === name) ?? cards.find((each) => each.name === this.options.networks.cardOf(name));
    if (!card) throw new UsageError(`there is no network card '${name}'; there are ${cards.map((each) => each.name).join(', ') || 'none'}`);
    card.setLink(up);
  }

  /** `chardev-add`; the name of a new pseudo-terminal. Rejects with `UsageError`. */
  async addCharacter(text: string): Promise<string | undefined> {
    const { named, characters } = this.options;
    const [id, spec] = parseChardev(text);
    if (named.has(id)) throw new UsageError(`there is a character device '${id}' already; give this one another id`);
    const name = await characters().add('chardev-add', spec);
    named.set(id, spec);
    return name;
  }

  /** `chardev-remove`; throws `UsageError`. */
  removeCharacter(id: string): void {
    const { named, characters } = this.options;
    const spec = named.get(id);
    if (!spec) throw new UsageError(`there is no character device '${id}'; there are ${[...named.keys()].join(', ') || 'none'}`);
    characters().remove(id, spec);
    named.delete(id);
  }

  /** `drive_add`; rejects with `UsageError`. */
  addDrive(text: string): Promise<void> {
    const drive = parseDrive(/(^|,)if=/.test(text) ? text : `${text},if=none`, this.drives++, false, 'drive_add');
    if (drive.plugged || drive.ata !== undefined || drive.flash !== undefined)
      throw new UsageError(`drive_add ${text}: write if=none,id=ID; device_add virtio-blk-pci,drive=ID plugs it in`);
    return this.options.media.addDrive(drive);
  }
}
