import { Code } from '../code.js';
import { type FunctionRef, Kind, type Node, type Statement } from '../node.js';
import type { FunctionDefinition } from '../program.js';

/** What a call can do, as far as the record of effects is concerned. */
export type CallEffect =
  /** Only computes. */
  | 'pure'
  /** May leave the instruction for good; otherwise nothing happened: loads, checks. */
  | 'check'
  /** May leave likewise, and vouches for bytes at an address: later writes to them cannot leave. */
  | 'probe'
  /** May leave (unless vouched for), else has written. */
  | 'write'
  /** Has written, and cannot leave. */
  | 'commit';

/** How calls are understood. A call of a definition without a rule is looked into; others are errors of the caller. */
export interface EffectRules {
  /** What a call does, or undefined to look into its definition. */
  readonly call: (target: FunctionRef) => CallEffect | undefined;
  /** Argument numbers of the address and of the byte count (a constant) in probes and writes. */
  readonly range: { readonly address: number; readonly bytes: number };
  /** Parameter that holds the address of the state. */
  readonly state: number;
  /** State that is no part of the architecture: writes to it do not count. */
  readonly isScratch: (offset: number) => boolean;
  /** A loop's turns are steps of their own: what one has written is done with when the next begins. */
  readonly restarts: boolean;
  /** Writes that may come before a given way of leaving. */
  readonly allows?: (write: string, target: FunctionRef, args: readonly Node[]) => boolean;
}

/** Part of the state, in bytes. */
export interface Range {
  readonly offset: number;
  readonly bytes: number;
}

/** What a function does to its state, on any path. */
export interface Effects {
  readonly reads: readonly Range[];
  readonly writes: readonly Range[];
  /** Some write is at an offset that is not constant. */
  readonly writesAnywhere: boolean;
  /** Effects that a later way to leave would leave behind: `write` before `leaving`. Empty when the function is precise. */
  readonly late: readonly { readonly write: string; readonly leaving: string }[];
  /** Names of the calls that were met. */
  readonly calls: ReadonlySet<string>;
}

/** An address as far as it is known: something unknown, plus a constant. */
interface Place {
  readonly root: Node | 'state';
  readonly offset: number;
}

/** What has happened on the way to a point of the code. */
interface Past {
  readonly written: ReadonlySet<string>;
  readonly vouched: readonly { readonly place: Place; readonly bytes: number }[];
}

const START: Past = { written: new Set(), vouched: [] };

/** Where paths meet. What one of them has probed counts on both: probes and the writes they are for stand under the same conditions. */
function join(a: Past | null, b: Past | null): Past | null {
  if (a === null || b === null) return a ?? b;
  if (a === b) return a;
  const vouched = [...a.vouched, ...b.vouched.filter((v) => !a.vouched.includes(v))];
  return { written: new Set([...a.written, ...b.written]), vouched };
}

/** Follows every path through a function and records what it does to the state, and what it does before its last way to leave. */
export function effectsOf(code: Code, rules: EffectRules): Effects {
  const walk = new Walk(rules);
  walk.function(code, new Map([[rules.state, { root: 'state', offset: 0 }]]), START);
  return walk.record();
}

class Walk {
  private readonly reads = new Map<string, Range>();
  private readonly writes = new Map<string, Range>();
  private readonly late = new Map<string, { write: string; leaving: string }>();
  private readonly calls = new Set<string>();
  private readonly codes = new Map<FunctionRef, Code>();
  private writesAnywhere = false;

  constructor(readonly rules: EffectRules) {}

  record(): Effects {
    const { reads, writes, late, writesAnywhere, calls } = this;
    return { reads: [...reads.values()], writes: [...writes.values()], writesAnywhere, late: [...late.values()], calls };
  }

  /** Follows a function whose parameters are known as `parameters` says; gives the past at its returns, or null when it never returns. */
  function(code: Code, parameters: ReadonlyMap<number, Place>, past: Past): Past | null {
    return new FunctionWalk(this, parameters).run(code.body, past);
  }

  codeOf(target: FunctionDefinition): Code {
    let code = this.codes.get(target);
    if (code === undefined) {
      code = new Code(target.signature);
      target.write(code);
      this.codes.set(target, code);
    }
    return code;
  }

  read(place: Place, bytes: number): void {
    if (place.root === 'state') this.reads.set(`${place.offset}+${bytes}`, { offset: place.offset, bytes });
  }

  /** A store to the state at an offset that only the run knows, or to other memory: the past after it. */
  writeUnknown(inState: boolean, past: Past): Past {
    this.writesAnywhere ||= inState;
    return { ...past, written: new Set([...past.written, inState ? 'state' : 'memory']) };
  }

  /** A store to the state: the past after it. */
  write({ offset }: Place, bytes: number, past: Past): Past {
    this.writes.set(`${offset}+${bytes}`, { offset, bytes });
    return this.rules.isScratch(offset) ? past : { ...past, written: new Set([...past.written, `state[${offset}]`]) };
  }

  /** A way to leave. */
  leave(target: FunctionRef, args: readonly Node[], past: Past): void {
    for (const write of past.written) {
      if (this.rules.allows?.(write, target, args)) continue;
      this.late.set(`${write} ${target.name}`, { write, leaving: target.name });
    }
  }

  met(target: FunctionRef): void {
    this.calls.add(target.name);
  }
}

/** One function on the way. */
class FunctionWalk {
  private readonly exits: (Past | null)[] = [];
  /** Pasts with which each open label is branched to. */
  private readonly branches = new Map<number, (Past | null)[]>();

  constructor(
    private readonly walk: Walk,
    private readonly parameters: ReadonlyMap<number, Place>,
  ) {}

  run(body: readonly Statement[], past: Past): Past | null {
    const end = this.list(body, past);
    return [...this.exits, end].reduce(join, null);
  }

  private place(node: Node): Place {
    if (node.kind === Kind.PARAM) return this.parameters.get(node.index) ?? { root: node, offset: 0 };
    const [a, b] = node.args;
    const name = node.instruction?.name;
    if ((name === 'i32.add' || name === 'i64.add') && b.kind === Kind.CONST) {
      const base = this.place(a);
      return { root: base.root, offset: base.offset + Number(b.value) };
    }
    // Addresses that wrap at 4 GiB: what is vouched for wraps alike.
    if (name === 'i64.and' && b.value === 0xffffffffn) return this.place(a);
    return { root: node, offset: 0 };
  }

  private isInState(node: Node): boolean {
    return this.place(node).root === 'state' || (node.instruction?.name === 'i32.add' && node.args.some((arg) => this.isInState(arg)));
  }

  private store(address: Node, offset: number, bytes: number, past: Past): Past {
    const place = this.place(address);
    if (place.root !== 'state') return this.walk.writeUnknown(this.isInState(address), past);
    return this.walk.write({ root: 'state', offset: place.offset + offset }, bytes, past);
  }

  private list(body: readonly Statement[], past: Past | null): Past | null {
    let now = past;
    for (const statement of body) {
      if (now === null) return null;
      now = this.statement(statement, now);
    }
    return now;
  }

  private statement(s: Statement, past: Past): Past | null {
    switch (s.kind) {
      case 'define':
        this.define(s.node);
        return past;
      case 'store':
        return this.store(s.address, s.offset, s.memory.bytes, past);
      case 'memory-copy':
      case 'memory-fill':
        return this.walk.writeUnknown(false, past);
      case 'call':
        return this.call(s.target, s.args, past);
      case 'if':
        return join(this.list(s.then, past), this.list(s.otherwise, past));
      case 'block':
        return this.block(s.label, s.body, past);
      case 'loop':
        return this.loop(s.label, s.body, past);
      case 'branch':
        this.branches.get(s.label)!.push(past);
        return s.condition === null ? null : past;
      case 'set':
      case 'call-indirect':
        return past;
      case 'tail-call':
        this.exits.push(this.call(s.target, s.args, past));
        return null;
      case 'return':
        this.exits.push(past);
        return null;
      default:
        return null;
    }
  }

  private define(node: Node): void {
    if (node.kind !== Kind.LOAD) return;
    const place = this.place(node.args[0]);
    this.walk.read({ root: place.root, offset: place.offset + node.index }, node.memory!.bytes);
  }

  private block(label: number, body: readonly Statement[], past: Past): Past | null {
    this.branches.set(label, []);
    const end = this.list(body, past);
    return this.branches.get(label)!.reduce(join, end);
  }

  /** Twice round: what the first turn leaves behind meets the ways to leave of the second. */
  private loop(label: number, body: readonly Statement[], past: Past): Past | null {
    this.branches.set(label, []);
    const first = this.list(body, past);
    const again = this.branches.get(label)!.reduce(join, null);
    if (again === null) return first;
    this.branches.set(label, []);
    const start = this.walk.rules.restarts ? { ...again, written: new Set<string>() } : again;
    return join(first, this.list(body, join(past, start)));
  }

  private call(target: FunctionRef, args: readonly Node[], past: Past): Past | null {
    const { walk } = this;
    const effect = walk.rules.call(target);
    walk.met(target);
    if (effect === undefined) return this.enter(target, args, past);
    if (effect === 'pure') return past;
    if (effect === 'commit') return { ...past, written: new Set([...past.written, target.name]) };
    const { address, bytes } = walk.rules.range;
    const isRanged = effect === 'probe' || effect === 'write';
    const place = isRanged ? this.place(args[address]) : null;
    const count = isRanged ? Number(args[bytes].value) : 0;
    const isSafe = place !== null && past.vouched.some((v) => isInside(v.place, v.bytes, place, count));
    if (!isSafe) walk.leave(target, args, past);
    if (effect === 'probe') return { ...past, vouched: [...past.vouched, { place: place!, bytes: count }] };
    return effect === 'write' ? { ...past, written: new Set([...past.written, target.name]) } : past;
  }

  private enter(target: FunctionRef, args: readonly Node[], past: Past): Past | null {
    if (!('write' in target)) return past;
    const parameters = new Map(args.map((arg, i) => [i, this.place(arg)]));
    return this.walk.function(this.walk.codeOf(target as FunctionDefinition), parameters, past);
  }
}

const isInside = (outer: Place, outerBytes: number, inner: Place, bytes: number): boolean =>
  outer.root === inner.root && inner.offset >= outer.offset && inner.offset + bytes <= outer.offset + outerBytes;
