import { HANDLER } from '@nestvm/cpu/compiling';
import { Code, type IntWidth, Kind, type Node, Val, type Variable, type Width } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { Place } from './access-groups.js';
import { NotCompilable } from './errors.js';
import { FlagState } from './flag-state.js';
import { FlagKind, flagAux } from './lasting-flags.js';
import { StateRegisters } from './state-registers.js';

const at = vcpuState.offset;
const GPR_END = at.gpr + 8 * 16;
const VEC_BYTES = 64;
/** Distances that fit into a displacement. */
const FARTHEST = 2 ** 31;
const TYPES = { 32: 'i32', 64: 'i64', 128: 'v128' } as const;
const VEC_END = at.vec + 16 * VEC_BYTES;

const isGpr = (offset: number): boolean => offset >= at.gpr && offset < GPR_END;
const isNothing = ({ kind, value }: Node): boolean => kind === Kind.CONST && value instanceof Uint8Array && value.every((byte) => byte === 0);

/** A register that lives in a variable of the function. */
interface Home {
  readonly variable: Variable<64> | Variable<32> | Variable<128>;
  readonly offset: number;
  isWritten: boolean;
}

/**
 * The function of a region being written. Accesses to the vCPU's flags, vector registers, MXCSR and, unless they stay in the state, integer registers become those of variables; `loadAll` and
 * `storeAll` carry them in and out. Everything else is as in `Code`.
 */
export class RegionCode extends Code {
  readonly flags: FlagState;
  /** How often each variable has been written so far. */
  private readonly versions: number[] = [];
  /** What vector registers' variables were set to in the present block, so that its parts are at hand. */
  private readonly latest = new Map<number, Val<128>>();
  private readonly homes = new Map<number, Home>();
  /** Where integer registers are if they are not in variables. */
  readonly registers: StateRegisters | null;
  private readonly baseNames = new Map<Node, string>();
  private readonly cpuNode: Node;
  /** RIP of the block being written. */
  rip: (() => Val<64>) | null = null;
  /** True while the code of one instruction is written: then conditional code concerns the flags. */
  inInstruction = false;

  /** `inState`: integer registers are no variables but stay in the vCPU's state. */
  constructor(inState = false) {
    super(HANDLER);
    const state = {
      load: (offset: number) => super.load('i64.load', 64, this.cpu, offset),
      store: (offset: number, value: Val<64>) => super.store('i64.store', this.cpu, value, offset),
    };
    this.registers = inState ? new StateRegisters(state) : null;
    this.cpuNode = this.param(1, 32).node;
    const variables = { kind: this.declare(32), result: this.declare(64), a: this.declare(64), b: this.declare(64) };
    this.flags = new FlagState(
      variables,
      (width, value) => this.constant(width, value),
      (...kept) => this.call(flagAux, 32, ...kept),
    );
  }

  get cpu(): Val<32> {
    return this.param(1, 32);
  }

  override lane<W extends Width>(name: string, width: W, lane: number, ...args: Val[]): Val<W> {
    const [into, value] = args.map(({ node }) => node);
    // A load into the lowest half of nothing has an instruction of its own.
    if (name === 'i64x2.replace_lane' && lane === 0 && value?.memory?.name === 'i64.load' && into !== undefined && isNothing(into))
      return this.load('v128.load64_zero', width, new Val(this, value.args[0]!, 32), value.index);
    return super.lane(name, width, lane, ...args);
  }

  override getVariable<W extends Width>(variable: Variable<W>): Val<W> {
    const value = super.getVariable(variable);
    // Until values are placed it tells which of the variable's values this is.
    value.node.born = this.versions[variable.index] ?? 0;
    return value;
  }

  override setVariable<W extends Width>(variable: Variable<W>, value: Val<W>): void {
    this.versions[variable.index] = (this.versions[variable.index] ?? 0) + 1;
    super.setVariable(variable, value);
  }

  /** An address as a distance from the present value of a register; null when it is something else. */
  placeOf({ node }: Val<64>): Place | null {
    const [base, distance] = node.kind === Kind.OP && node.instruction?.name === 'i64.add' ? node.args : [node];
    if (base === undefined || (distance !== undefined && distance.kind !== Kind.CONST)) return null;
    const far = Number(distance?.value ?? 0);
    if (Math.abs(far) > FARTHEST) return null;
    if (base.kind === Kind.GET) return { base: `${base.index} ${base.born}`, distance: far };
    return this.registers === null ? null : { base: this.nameOf(base), distance: far };
  }

  private nameOf(base: Node): string {
    const name = this.baseNames.get(base) ?? `value ${this.baseNames.size}`;
    this.baseNames.set(base, name);
    return name;
  }

  private home(offset: number, width: 32 | 64 | 128): Home {
    let home = this.homes.get(offset);
    if (home === undefined) {
      home = { variable: this.declare(width) as Variable<64>, offset, isWritten: false };
      this.homes.set(offset, home);
    }
    return home;
  }

  /** Starts a block, which may be reached without the code before it; with what is known of registers there. */
  startBlock(known: ReadonlyMap<number, Val<64>> | undefined): void {
    this.latest.clear();
    this.registers?.resume(known);
  }

  private gpr(offset: number): Val<64> {
    return this.registers?.get(offset, this.flags.depth > 0) ?? (this.home(offset, 64).variable as Variable<64>).get();
  }

  private setGpr(offset: number, value: Val<64>): void {
    if (this.registers !== null) return this.registers.set(offset, value, this.flags.depth > 0);
    const home = this.home(offset, 64);
    home.isWritten = true;
    (home.variable as Variable<64>).set(value);
  }

  private vecAt(offset: number): Variable<128> | null {
    if (offset < at.vec || offset >= VEC_END || (offset - at.vec) % VEC_BYTES >= 16) return null;
    return this.home(offset - ((offset - at.vec) % VEC_BYTES), 128).variable as Variable<128>;
  }

  override load<W extends Width>(name: string, width: W, address: Val<32>, offset = 0): Val<W> {
    if (address.node !== this.cpuNode) return super.load(name, width, address, offset);
    if (offset === at.zero) return this.constant(width, 0);
    if (offset === at.blockRip && this.rip !== null) return this.rip() as unknown as Val<W>;
    if (offset === at.flagResult || offset === at.flagAux) throw new NotCompilable('flags as memory');
    if (isGpr(offset)) return this.gprLoad(name, this.gpr(offset & ~7), offset & 7).as(width);
    if (offset === at.mxcsr && name === 'i32.load') return (this.home(offset, 32).variable as Variable<32>).get() as unknown as Val<W>;
    const vec = this.vecAt(offset);
    if (vec !== null) return this.vecLoad(name, this.latest.get(vec.index) ?? vec.get(), (offset - at.vec) % 16).as(width);
    return super.load(name, width, address, offset);
  }

  private gprLoad(name: string, value: Val<64>, byte: number): Val {
    const low = (): Val<32> => (byte === 0 ? value : value.shrU(8 * byte)).trunc(32);
    switch (name) {
      case 'i64.load':
        return value;
      case 'i32.load':
        return low();
      case 'i32.load16_u':
        return low().and(0xffff);
      case 'i32.load8_u':
        return byte === 0 ? low().and(0xff) : low().and(0xff);
      default:
        throw new NotCompilable(`${name} of a register`);
    }
  }

  private vecLoad(name: string, value: Val<128>, byte: number): Val {
    if (name === 'v128.load' && byte === 0) return value;
    if (name === 'i64.load' && byte % 8 === 0) return this.lane('i64x2.extract_lane', 64, byte / 8, value);
    if (name === 'i32.load' && byte % 4 === 0) return this.lane('i32x4.extract_lane', 32, byte / 4, value);
    throw new NotCompilable(`${name} of a vector register`);
  }

  override store(name: string, address: Val<32>, value: Val, offset = 0): void {
    if (address.node !== this.cpuNode) return super.store(name, address, value, offset);
    if (offset === at.flagResult || offset === at.flagAux) throw new NotCompilable('flags as memory');
    if (isGpr(offset)) return this.setGpr(offset & ~7, this.gprMerge(name, offset & ~7, value, offset & 7));
    if (offset === at.mxcsr && name === 'i32.store') {
      const home = this.home(offset, 32);
      home.isWritten = true;
      return (home.variable as Variable<32>).set(value as Val<32>);
    }
    const vec = this.vecAt(offset);
    if (vec === null) return super.store(name, address, value, offset);
    this.homes.get(offset - ((offset - at.vec) % VEC_BYTES))!.isWritten = true;
    const merged = this.vecMerge(name, this.latest.get(vec.index) ?? vec.get(), value, (offset - at.vec) % 16);
    vec.set(merged);
    if (this.flags.depth === 0) this.latest.set(vec.index, merged);
    else this.latest.delete(vec.index);
  }

  private vecMerge(name: string, old: Val<128>, value: Val, byte: number): Val<128> {
    if (name === 'v128.store' && byte === 0) return value as Val<128>;
    if (name === 'i64.store' && byte % 8 === 0) return this.lane('i64x2.replace_lane', 128, byte / 8, old, value);
    if (name === 'i32.store' && byte % 4 === 0) return this.lane('i32x4.replace_lane', 128, byte / 4, old, value);
    throw new NotCompilable(`${name} of a vector register`);
  }

  /** A register with some of its bytes replaced. */
  private gprMerge(name: string, register: number, value: Val, byte: number): Val<64> {
    const narrow = value as Val<IntWidth>;
    switch (name) {
      case 'i64.store':
        return value as Val<64>;
      case 'i32.store':
        if (byte !== 0) break;
        return this.gpr(register)
          .and(~0xffffffffn)
          .or((value as Val<32>).zext(64));
      case 'i32.store16':
        return this.gpr(register).and(~0xffffn).or(narrow.as(32).and(0xffff).zext(64));
      case 'i32.store8': {
        const bits = narrow.as(32).and(0xff).zext(64);
        return this.gpr(register)
          .and(~(0xffn << BigInt(8 * byte)))
          .or(byte === 0 ? bits : bits.shl(8 * byte));
      }
    }
    throw new NotCompilable(`${name} of a register`);
  }

  /** Loads all registers that the code uses. */
  loadAll(): void {
    if (this.flags.isUsed) {
      const { kind, result, a } = this.flags.variables;
      kind.set(this.constant(32, FlagKind.AUX));
      result.set(super.load('i64.load', 64, this.cpu, at.flagResult));
      a.set(super.load('i64.load32_u', 64, this.cpu, at.flagAux));
    }
    for (const { variable, offset } of this.homes.values()) {
      const { width } = variable;
      (variable as Variable<64>).set(super.load(`${TYPES[width]}.load`, width, this.cpu, offset) as Val<64>);
    }
  }

  /** Stores all registers that the code writes, and of the flags the result. */
  storeAll(): void {
    if (this.flags.isUsed) super.store('i64.store', this.cpu, this.flags.variables.result.get(), at.flagResult);
    for (const { variable, offset, isWritten } of this.homes.values())
      if (isWritten) super.store(`${TYPES[variable.width]}.store`, this.cpu, variable.get(), offset);
  }

  /** A store to the vCPU's state that no variable stands for. */
  storeState(name: string, value: Val, offset: number): void {
    super.store(name, this.cpu, value, offset);
  }

  /** A load of the vCPU's state that no variable stands for. */
  loadState<W extends Width>(name: string, width: W, offset: number): Val<W> {
    return super.load(name, width, this.cpu, offset);
  }

  override if(condition: Val<32>, then: () => void, otherwise?: () => void): void {
    if (!this.inInstruction || condition.node.kind === Kind.CONST) return super.if(condition, then, otherwise);
    const { flags } = this;
    this.registers?.save();
    const before = this.later();
    const saved = flags.producer;
    const leave = flags.enter();
    super.if(
      condition,
      then,
      otherwise &&
        (() => {
          flags.producer = saved;
          otherwise();
        }),
    );
    leave(before);
  }

  override block(write: Parameters<Code['block']>[0]): void {
    if (!this.inInstruction) return super.block(write);
    this.registers?.save();
    const before = this.later();
    const leave = this.flags.enter();
    super.block(write);
    leave(before);
  }

  override loop(write: Parameters<Code['loop']>[0]): void {
    if (!this.inInstruction) return super.loop(write);
    // The flags that a turn finds may be those of the turn before.
    this.flags.flush();
    this.flags.producer = null;
    this.registers?.forget();
    this.latest.clear();
    const leave = this.flags.enter();
    super.loop(write);
    leave(() => undefined);
  }
}
