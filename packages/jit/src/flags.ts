import { type IntWidth, Kind, type Node, type Val } from '@nestvm/emit';
import { type FlagHome, Flags, type FlagValues } from '@nestvm/semantics';
import type { FlagState, Producer } from './flag-state.js';
import { FlagKind, type Kept, kindAt } from './lasting-flags.js';

const isMask = (node: Node): boolean => node.kind === Kind.OP && node.instruction?.name === 'i32.and' && node.args[1]?.kind === Kind.CONST;

/** Whether a value is `a op b` and nothing else, cut to its width. */
function isExactly(name: 'add' | 'sub', result: Val<IntWidth>, a: Val<IntWidth>, b: Val<IntWidth>): boolean {
  let { node } = result;
  if (result.width < 32 && isMask(node)) node = node.args[0]!;
  const operation = `${result.width === 64 ? 'i64' : 'i32'}.${name}`;
  if (node.kind === Kind.OP && node.instruction?.name === operation) return node.args[0] === a.node && node.args[1] === b.node;
  // x + 0 and x - 0 are x.
  return node === a.node && b.node.kind === Kind.CONST && (b.node.value === 0 || b.node.value === 0n);
}

const keptOperands = <W extends IntWidth>(kind: number, a: Val<W>, b: Val<W>): Kept => ({
  kind: kindAt(kind, a.width),
  a: () => a.zext(64),
  b: () => b.zext(64),
});

/** The flags of compiled code: conditions come from the instruction that produced the flags, if that is known. */
export class RegionFlags extends Flags {
  constructor(
    home: FlagHome,
    private readonly state: FlagState,
  ) {
    super(home);
  }

  override add<W extends IntWidth>(result: Val<W>, a: Val<W>, b: Val<W>): void {
    const aux = (): Val<32> => this.aux(a.and(b).or(a.or(b).and(result.not())));
    const cf = isExactly('add', result, a, b) ? { cf: () => result.ltU(a) } : {};
    this.state.put({ result, aux, kept: keptOperands(FlagKind.ADD, a, b), isPlain: true, ...cf });
  }

  override sub<W extends IntWidth>(result: Val<W>, a: Val<W>, b: Val<W>): void {
    const aux = (): Val<32> => {
      const na = a.not();
      return this.aux(na.and(b).or(na.or(b).and(result)));
    };
    const base: Producer = { result, aux, kept: keptOperands(FlagKind.SUB, a, b), isPlain: true };
    if (!isExactly('sub', result, a, b)) return this.state.put(base);
    const conditions = [
      undefined,
      () => a.ltU(b),
      () => a.eq(b),
      () => a.leU(b),
      () => result.ltS(0),
      undefined,
      () => a.ltS(b),
      () => a.leS(b),
    ] as const;
    this.state.put({ ...base, cf: () => a.ltU(b), conditions });
  }

  override logic<W extends IntWidth>(result: Val<W>): void {
    const none = (): Val<32> => this.x.const(32, 0);
    const conditions = [
      none,
      none,
      () => result.isZero(),
      () => result.isZero(),
      () => result.ltS(0),
      undefined,
      () => result.ltS(0),
      () => result.leS(0),
    ] as const;
    const kept = { kind: FlagKind.AUX, a: () => this.state.zero() };
    this.state.put({ result, aux: none, kept, isPlain: true, cf: none, of: none, conditions });
  }

  override carryOverflow<W extends IntWidth>(result: Val<W>, cf: Val<32>, of: Val<32>): void {
    const kept = { kind: FlagKind.BITS, a: () => cf.or(of.shl(1)).zext(64) };
    this.state.put({ result, aux: () => cf.shl(31).or(cf.xor(of).shl(30)), kept, isPlain: true, cf: () => cf, of: () => of });
  }

  override keepCarry<W extends IntWidth>(result: Val<W>, of: Val<32>, af: Val<32>): void {
    const carry = this.carryOf(this.state.snapshot());
    const aux = (): Val<32> => {
      const cf = carry();
      return cf.shl(31).or(cf.xor(of).shl(30)).or(af.shl(3));
    };
    const kept = { kind: FlagKind.BITS, a: () => carry().or(of.shl(1)).or(af.shl(2)).zext(64) };
    this.state.put({ result, aux, kept, isPlain: true, cf: carry, of: () => of });
  }

  override setCarryOverflow(cf: Val<32>, of: Val<32>): void {
    const old = this.state.snapshot();
    const aux = (): Val<32> => old.aux().and(0x3fffffff).or(cf.shl(31)).or(cf.xor(of).shl(30));
    this.state.put({ result: old.result, aux, isPlain: old.isPlain, cf: () => cf, of: () => of });
  }

  override setCarry(cf: Val<32>): void {
    const old = this.state.snapshot();
    const aux = (): Val<32> => {
      const before = old.aux();
      const flip = before.shrU(31).xor(cf);
      return before.xor(flip.shl(31).or(flip.shl(30)));
    };
    this.state.put({ result: old.result, aux, isPlain: old.isPlain, cf: () => cf });
  }

  override set(values: FlagValues): void {
    const { cf, pf, af, zf, sf, of } = values;
    const aux = (): Val<32> => cf.shl(31).or(cf.xor(of).shl(30)).or(af.shl(3)).or(pf.xor(zf).shl(8)).or(sf);
    this.state.put({ result: zf.xor(1).zext(64), aux, isPlain: false, cf: () => cf, of: () => of });
  }

  private carryOf(producer: Producer): () => Val<32> {
    return producer.cf ?? (() => producer.aux().shrU(31));
  }

  override cf(): Val<32> {
    return this.carryOf(this.state.snapshot())();
  }
  override of(): Val<32> {
    const now = this.state.snapshot();
    if (now.of) return now.of();
    const aux = now.aux();
    return aux.xor(aux.shl(1)).shrU(31);
  }
  override af(): Val<32> {
    return this.state.snapshot().aux().shrU(3).and(1);
  }
  override zf(): Val<32> {
    return this.state.snapshot().result.isZero();
  }
  override sf(): Val<32> {
    const now = this.state.snapshot();
    const sign = now.result.ltS(0);
    return now.isPlain ? sign : sign.xor(now.aux().and(1));
  }
  override pf(): Val<32> {
    const now = this.state.snapshot();
    const low = now.result.trunc(32) as Val<32>;
    const byte = now.isPlain ? low : low.xor(now.aux().shrU(8));
    return byte.and(0xff).popcnt().and(1).xor(1);
  }

  protected override positive(kind: number): Val<32> {
    return this.state.producer?.conditions?.[kind]?.() ?? super.positive(kind);
  }
}
