import { nearestName } from '@nestvm/isa/models';
import type { FaultRule } from '../blocks/fault-file.js';
import { UsageError } from '../errors.js';
import { parseInteger, parseProperties, parseSize, parseSwitch } from './text.js';

/** A node of the block layer: a file, or a format above one. */
export interface BlockNode {
  /** What named it, for messages. */
  readonly option: string;
  readonly name?: string;
  readonly driver: BlockDriver;
  readonly readOnly: boolean;
  /** Whoever else has its files. */
  readonly unlocked?: boolean;
  /** `file`: its path. `http` and `https`: the address. */
  readonly path?: string;
  /** `null-co`, and `raw` where it is a part: bytes. */
  readonly sizeBytes?: number;
  /** `raw`: where in the file it begins. */
  readonly offsetBytes?: number;
  /** What the node is above: the file of a format, the image of `blkdebug`. */
  readonly below?: BlockNode;
  /** `qcow2`: the disk below; absent: what the image says; null: none. */
  readonly backing?: BlockNode | null;
  readonly faults?: readonly FaultRule[];
}

/** The file at the bottom of a node, if it is one. */
export const filePathOf = ({ path, below }: BlockNode): string | undefined => path ?? (below && filePathOf(below));

/** Drivers of nodes. */
export type BlockDriver = 'file' | 'http' | 'https' | 'raw' | 'qcow2' | 'null-co' | 'blkdebug';

/** What was written of a node: JSON, or the same made of dotted keys. */
type Tree = { readonly [key: string]: unknown };

/** Properties of every node; those that only say how QEMU is to use its host take any value. */
const COMMON = ['driver', 'node-name', 'read-only', 'auto-read-only', 'discard', 'detect-zeroes', 'force-share', 'cache'];
const KEYS: Readonly<Record<BlockDriver, readonly string[]>> = {
  file: ['filename', 'aio', 'locking', 'drop-cache', 'pr-manager'],
  http: ['url', 'readahead', 'timeout'],
  https: ['url', 'readahead', 'timeout'],
  raw: ['file', 'offset', 'size'],
  qcow2: [
    'file',
    'backing',
    'lazy-refcounts',
    'pass-discard-request',
    'pass-discard-snapshot',
    'overlap-check',
    'cache-size',
    'l2-cache-size',
    'refcount-cache-size',
  ],
  'null-co': ['size', 'read-zeroes', 'latency-ns'],
  blkdebug: ['image', 'inject-error'],
};
/** Other names of drivers. */
const SYNONYMS: Readonly<Record<string, BlockDriver>> = { 'null-aio': 'null-co' };
const NULL_BYTES = 2 ** 30;
/** Longest nesting of what is written in one another. */
const DEEPEST = 32;

const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Puts `file.driver=…` into the tree that it means; numbered keys become lists. Throws `UsageError`. */
function treeOf(option: string, values: ReadonlyMap<string, string>): Tree {
  const root: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [key, value] of values) {
    const path = key.split('.');
    const last = path.pop()!;
    let at = root;
    for (const step of path) {
      const next = (at[step] ??= Object.create(null)) as unknown;
      if (!isTree(next)) throw new UsageError(`${option}: '${step}' is a name as well as something with properties; write one of them`);
      at = next as Record<string, unknown>;
    }
    at[last] = value;
  }
  return root;
}

/** Parses one `-blockdev`; `named` has the nodes before it. Throws `UsageError`. */
export function parseBlockdev(text: string, named: ReadonlyMap<string, BlockNode>): BlockNode {
  const option = `-blockdev ${text}`;
  return nodeOf(option, text.trimStart().startsWith('{') ? jsonOf(option, text) : dotted(option, text), named, 0);
}

function jsonOf(option: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new UsageError(`${option}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function dotted(option: string, text: string): Tree {
  const { head, values } = parseProperties(text);
  return treeOf(option, head === '' ? values : new Map([['driver', head], ...values]));
}

/** Checks what was written of a node; throws `UsageError`. */
export function nodeOf(option: string, tree: unknown, named: ReadonlyMap<string, BlockNode>, depth: number): BlockNode {
  if (!isTree(tree)) throw new UsageError(`${option}: properties are missing; write driver=file,filename=FILE,node-name=NAME`);
  if (depth > DEEPEST) throw new UsageError(`${option}: more than ${DEEPEST} nodes above one another`);
  const driver = driverOf(option, tree['driver']);
  for (const key of Object.keys(tree)) {
    const known = [...COMMON, ...KEYS[driver]];
    if (known.includes(key)) continue;
    const near = nearestName(key, known);
    throw new UsageError(`${option}: ${driver} has no property '${key}'; ${near ? `the nearest is '${near}'` : `there are ${known.join(', ')}`}`);
  }
  const name = textOf(option, tree, 'node-name');
  if (name !== undefined && named.has(name)) throw new UsageError(`${option}: there is a node '${name}' already; choose another node-name`);
  const child = (key: string): BlockNode => {
    const value = tree[key];
    if (value === undefined) throw new UsageError(`${option}: ${driver} needs ${key}=NODE, or ${key}.driver=… with its properties`);
    return typeof value === 'string' ? reference(option, key, value, named) : nodeOf(option, value, named, depth + 1);
  };
  return {
    option,
    driver,
    readOnly: flagOf(option, tree, 'read-only'),
    ...(isShared(option, flagOf(option, tree, 'force-share'), flagOf(option, tree, 'read-only')) ? { unlocked: true } : {}),
    ...(name === undefined ? {} : { name }),
    ...OWN[driver]({ option, tree, child }),
  };
}

/** Checks `force-share=`; throws `UsageError`. */
export function isShared(option: string, forceShare: boolean, readOnly: boolean): boolean {
  if (forceShare && !readOnly) throw new UsageError(`${option}: force-share=on can only be used with read-only images; write read-only=on as well`);
  return forceShare;
}

/** What `locking=` says: false when nobody is to be asked who else has the file. Throws `UsageError`. */
export const isLocking = (option: string, value: string | undefined): boolean =>
  value === undefined || value === 'auto' || parseSwitch(`${option}: locking`, value);

function driverOf(option: string, value: unknown): BlockDriver {
  const names = Object.keys(KEYS) as BlockDriver[];
  const wanted = typeof value === 'string' ? (SYNONYMS[value] ?? value) : '';
  const driver = names.find((name) => name === wanted);
  if (driver) return driver;
  throw new UsageError(`${option}: ${wanted === '' ? 'driver= is missing' : `no driver '${wanted}'`}; there are ${names.join(', ')}`);
}

function reference(option: string, key: string, name: string, named: ReadonlyMap<string, BlockNode>): BlockNode {
  const node = named.get(name);
  if (node) return node;
  throw new UsageError(
    `${option}: ${key}=${name}: no such node; ${named.size > 0 ? `there are ${[...named.keys()].join(', ')}` : 'give it before, with node-name='}`,
  );
}

interface Draft {
  readonly option: string;
  readonly tree: Tree;
  readonly child: (key: string) => BlockNode;
}

/** The address of an image on a web server. */
const webOf =
  (driver: 'http' | 'https') =>
  ({ option, tree }: Draft): Partial<BlockNode> => {
    const path = textOf(option, tree, 'url');
    if (path?.toLowerCase().startsWith(`${driver}://`)) return { path };
    throw new UsageError(`${option}: ${driver} needs an address; write url=${driver}://HOST/IMAGE`);
  };

/** What each driver has of its own. */
const OWN: Readonly<Record<BlockDriver, (draft: Draft) => Partial<BlockNode>>> = {
  file: ({ option, tree }) => {
    const path = textOf(option, tree, 'filename');
    if (path === undefined || path === '') throw new UsageError(`${option}: filename= is missing`);
    const { locking } = tree;
    const locked = isLocking(option, typeof locking === 'boolean' ? (locking ? 'on' : 'off') : textOf(option, tree, 'locking'));
    return { path, ...(locked ? {} : { unlocked: true }) };
  },
  http: webOf('http'),
  https: webOf('https'),
  raw: ({ option, tree, child }) => ({
    below: child('file'),
    ...bytesOf(option, tree, 'offset', 'offsetBytes'),
    ...bytesOf(option, tree, 'size', 'sizeBytes'),
  }),
  qcow2: ({ tree, child }) => {
    const { backing } = tree;
    return { below: child('file'), ...(backing === undefined ? {} : { backing: backing === null || backing === '' ? null : child('backing') }) };
  },
  'null-co': ({ option, tree }) => ({ sizeBytes: NULL_BYTES, ...bytesOf(option, tree, 'size', 'sizeBytes') }),
  blkdebug: ({ option, tree, child }) => ({ below: child('image'), faults: faultsOf(option, tree['inject-error']) }),
};

const EVENTS: Readonly<Record<string, FaultRule['event']>> = {
  none: 'read',
  read_aio: 'read',
  write_aio: 'write',
  pwritev: 'write',
  flush_to_disk: 'flush',
  flush_to_os: 'flush',
};
const ERRNO: Readonly<Record<number, FaultRule['code']>> = { 1: 'EPERM', 5: 'EIO', 22: 'EINVAL', 28: 'ENOSPC' };

function faultsOf(option: string, value: unknown): FaultRule[] {
  const items = Array.isArray(value) ? value : isTree(value) ? Object.values(value) : [];
  return items.map((item: unknown): FaultRule => {
    if (!isTree(item)) throw new UsageError(`${option}: inject-error is a list of rules with event=, errno=, sector=, once=`);
    const event = EVENTS[textOf(option, item, 'event') ?? ''];
    if (event === undefined)
      throw new UsageError(`${option}: inject-error: event=${JSON.stringify(item['event'])}: there are ${Object.keys(EVENTS).join(', ')}`);
    const code = ERRNO[Number(item['errno'] ?? 5)];
    if (code === undefined)
      throw new UsageError(`${option}: inject-error: errno=${JSON.stringify(item['errno'])}: there are ${Object.keys(ERRNO).join(', ')}`);
    const sector = item['sector'];
    const iotype = textOf(option, item, 'iotype');
    return {
      event: iotype === 'write' || iotype === 'flush' ? iotype : event,
      code,
      once: flagOf(option, item, 'once'),
      ...(sector === undefined || Number(sector) === -1
        ? {}
        : { sector: parseInteger(`${option}: sector`, wordOf(sector), 0, Number.MAX_SAFE_INTEGER) }),
    };
  });
}

/** A number or text as it would be written. */
const wordOf = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : JSON.stringify(value));

function textOf(option: string, tree: Tree, key: string): string | undefined {
  const value = tree[key];
  if (value === undefined || typeof value === 'string') return value;
  throw new UsageError(`${option}: ${key} is a text`);
}

function flagOf(option: string, tree: Tree, key: string): boolean {
  const value = tree[key] ?? false;
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string') return parseSwitch(`${option}: ${key}`, value);
  throw new UsageError(`${option}: ${key} is on or off`);
}

function bytesOf<K extends string>(option: string, tree: Tree, key: string, as: K): { [P in K]?: number } {
  const value = tree[key];
  if (value === undefined) return {};
  const bytes = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : parseSize(`${option}: ${key}`, wordOf(value), 1);
  return { [as]: bytes } as { [P in K]?: number };
}
