import type { Disk, RemoteDisk } from '@nestvm/disks';
import { openDrive } from '../disk.js';
import { UsageError } from '../errors.js';
import { type BlockNode, nodeOf } from '../options/blockdev.js';
import { type DriveSpec, nodeDrive } from '../options/drives.js';
import { openRemote } from '../remote-drives.js';

/** A node that was added while the machine runs. */
export interface AddedNode {
  readonly drive: DriveSpec;
  readonly disk: Disk | RemoteDisk;
  /** The drive that has it. */
  user?: string;
}

/** Nodes that monitors add, put into CD drives, and delete. */
export class AddedNodes {
  private readonly nodes = new Map<string, AddedNode>();

  /** `drives`: those of the command line, whose names are taken. */
  constructor(private readonly drives: readonly DriveSpec[]) {}

  /** Opens what QMP's arguments describe; rejects with `UsageError`. */
  async add(description: unknown): Promise<void> {
    const given = this.drives.flatMap(({ node }) => (node?.name === undefined ? [] : [[node.name, node] as const]));
    const node = nodeOf('blockdev-add', description, new Map<string, BlockNode>(given), 0);
    const { name } = node;
    if (name === undefined) throw new UsageError("blockdev-add: 'node-name' is missing, by which other commands find it");
    await this.addDrive('blockdev-add', nodeDrive({ ...node, name }));
  }

  /** Opens a drive under its id; rejects with `UsageError`. */
  async addDrive(command: string, spec: DriveSpec): Promise<void> {
    const { id } = spec;
    const assertFree = (): void => {
      if (this.nodes.has(id) || this.drives.some((drive) => drive.id === id)) throw new UsageError(`${command}: there is a node '${id}' already`);
    };
    assertFree();
    const drive = await openRemote(spec);
    assertFree();
    this.nodes.set(id, { drive, disk: openDrive(drive) });
  }

  /** Closes a node that nobody has; throws `UsageError`. */
  remove(name: string): void {
    const node = this.find(name);
    if (node.user !== undefined) throw new UsageError(`'${name}' is in '${node.user}'; take it out first`);
    node.disk.close();
    this.nodes.delete(name);
  }

  /** Gives a node to a drive; throws `UsageError` when another has it. */
  take(name: string, user: string): AddedNode {
    const node = this.find(name);
    if (node.user !== undefined) throw new UsageError(`'${name}' is in '${node.user}'; take it out first`);
    node.user = user;
    return node;
  }

  list(): readonly AddedNode[] {
    return [...this.nodes.values()];
  }

  close(): void {
    for (const { disk } of this.nodes.values()) disk.close();
    this.nodes.clear();
  }

  private find(name: string): AddedNode {
    const node = this.nodes.get(name);
    if (node) return node;
    if (this.drives.some(({ id }) => id === name)) throw new UsageError(`'${name}' is of the command line: it stays as long as the machine`);
    throw new UsageError(`there is no node '${name}'; there are ${[...this.nodes.keys()].join(', ') || 'none that were added'}`);
  }
}
