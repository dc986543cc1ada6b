import type { IntWidth, Val } from '@nestvm/emit';

/** Values for explicit flags: each 0 or 1. */
export interface FlagValues {
  readonly cf: Val<32>;
  readonly pf: Val<32>;
  readonly af: Val<32>;
  readonly zf: Val<32>;
  readonly sf: Val<32>;
  readonly of: Val<32>;
}

/** Where the flags are kept: the part of `Context` that they need. */
export interface FlagHome {
  const(width: 32, value: number): Val<32>;
  get32(field: 'flagAux'): Val<32>;
  set32(field: 'flagAux', value: Val<32>): void;
  get64(field: 'flagResult'): Val<64>;
  set64(field: 'flagResult', value: Val<64>): void;
}

const CARRY_BITS = 0xc0000000 | 0;

/** The arithmetic flags, kept lazily: see docs/explanation/architecture.md, "Arithmetic flags are lazy". */
export class Flags {
  constructor(protected readonly x: FlagHome) {}

  protected put(result: Val<IntWidth>, aux: Val<32>): void {
    this.x.set64('flagResult', result.sext(64));
    this.x.set32('flagAux', aux);
  }

  /** The carry vector's bits W-1, W-2 and 3 in the places of `flagAux`. */
  protected aux(carries: Val<IntWidth>): Val<32> {
    switch (carries.width) {
      case 64: {
        const wide = carries as Val<64>;
        return wide.shrU(32).trunc(32).and(CARRY_BITS).or(wide.trunc(32).and(8));
      }
      case 32:
        return (carries as Val<32>).and(CARRY_BITS | 8);
      default:
        return carries
          .as(32)
          .shl(32 - carries.width)
          .or(carries.as(32).and(8))
          .and(CARRY_BITS | 8);
    }
  }

  /** Flags of result = a + b (+ carry in). */
  add<W extends IntWidth>(result: Val<W>, a: Val<W>, b: Val<W>): void {
    this.put(result, this.aux(a.and(b).or(a.or(b).and(result.not()))));
  }

  /** Flags of result = a - b (- borrow in). */
  sub<W extends IntWidth>(result: Val<W>, a: Val<W>, b: Val<W>): void {
    const na = a.not();
    this.put(result, this.aux(na.and(b).or(na.or(b).and(result))));
  }

  /** Flags of AND, OR, XOR, TEST: CF = OF = 0 (AF is undefined: 0). */
  logic<W extends IntWidth>(result: Val<W>): void {
    this.put(result, this.x.const(32, 0));
  }

  /** Flags of a result with given CF and OF; AF is 0. */
  carryOverflow<W extends IntWidth>(result: Val<W>, cf: Val<32>, of: Val<32>): void {
    this.put(result, cf.shl(31).or(cf.xor(of).shl(30)));
  }

  /** INC and DEC: all but CF. `of` and `af` are 0 or 1. */
  keepCarry<W extends IntWidth>(result: Val<W>, of: Val<32>, af: Val<32>): void {
    const cf = this.x.get32('flagAux').and(0x80000000);
    this.put(result, cf.or(cf.shrU(1).xor(of.shl(30))).or(af.shl(3)));
  }

  /** New CF and OF; SF, ZF, AF and PF stay. */
  setCarryOverflow(cf: Val<32>, of: Val<32>): void {
    const rest = this.x.get32('flagAux').and(0x3fffffff);
    this.x.set32('flagAux', rest.or(cf.shl(31)).or(cf.xor(of).shl(30)));
  }

  /** New CF (and the same OF, SF, ZF, AF, PF). */
  setCarry(cf: Val<32>): void {
    const aux = this.x.get32('flagAux');
    // OF = bit 31 ^ bit 30 stays: when CF flips, both bits flip.
    const flip = aux.shrU(31).xor(cf);
    this.x.set32('flagAux', aux.xor(flip.shl(31).or(flip.shl(30))));
  }

  /** All six at once. */
  set(values: FlagValues): void {
    const { cf, pf, af, zf, sf, of } = values;
    const low = zf.xor(1);
    // The low byte of the result (0 or 1) has parity zf; bits 15:8 make it even exactly when PF is 1.
    const delta = pf.xor(zf);
    this.x.set64('flagResult', low.zext(64));
    this.x.set32('flagAux', cf.shl(31).or(cf.xor(of).shl(30)).or(af.shl(3)).or(delta.shl(8)).or(sf));
  }

  cf(): Val<32> {
    return this.x.get32('flagAux').shrU(31);
  }
  of(): Val<32> {
    const aux = this.x.get32('flagAux');
    return aux.xor(aux.shl(1)).shrU(31);
  }
  af(): Val<32> {
    return this.x.get32('flagAux').shrU(3).and(1);
  }
  zf(): Val<32> {
    return this.x.get64('flagResult').isZero();
  }
  sf(): Val<32> {
    return this.x.get64('flagResult').shrU(63).trunc(32).xor(this.x.get32('flagAux').and(1));
  }
  pf(): Val<32> {
    const byte = this.x.get64('flagResult').trunc(32).xor(this.x.get32('flagAux').shrU(8)).and(0xff);
    return byte.popcnt().and(1).xor(1);
  }

  /** All six as they stand in the low 12 bits of RFLAGS. */
  pack(): Val<32> {
    return this.cf().or(this.pf().shl(2)).or(this.af().shl(4)).or(this.zf().shl(6)).or(this.sf().shl(7)).or(this.of().shl(11));
  }

  /** All six from the bits of an RFLAGS image. */
  unpack(image: Val<32>): void {
    const bit = (n: number): Val<32> => image.shrU(n).and(1);
    this.set({ cf: bit(0), pf: bit(2), af: bit(4), zf: bit(6), sf: bit(7), of: bit(11) });
  }

  /** Condition code 0-15 as Jcc, SETcc and CMOVcc encode it: 1 when it holds. */
  condition(code: number): Val<32> {
    const value = this.positive(code >> 1);
    return (code & 1) === 1 ? value.isZero() : value;
  }

  protected positive(kind: number): Val<32> {
    switch (kind) {
      case 0:
        return this.of();
      case 1:
        return this.cf();
      case 2:
        return this.zf();
      case 3:
        return this.cf().or(this.zf());
      case 4:
        return this.sf();
      case 5:
        return this.pf();
      case 6:
        return this.sf().xor(this.of());
      default:
        return this.zf().or(this.sf().xor(this.of()));
    }
  }
}
