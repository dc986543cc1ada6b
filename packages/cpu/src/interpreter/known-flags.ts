import type { IntWidth, Val } from '@nestvm/emit';
import { type Facts, type FlagHome, Flags, type FlagValues } from '@nestvm/semantics';

/** Conditions by half their code, as far as operands tell them: overflow, carry, zero, carry or zero, sign, parity, less, less or equal. */
type Conditions = readonly ((() => Val<32>) | undefined)[];

/** What instructions in one function know of the flags that one before them has set. */
export interface FlagMemory {
  conditions: Conditions;
}

/** Instructions that set all flags whatever their operands are, with the rule of their kind and no carry in. */
const EXACT = new Set(['ADD', 'SUB', 'CMP', 'AND', 'OR', 'XOR', 'TEST']);
const NOTHING: Conditions = [];

/** Whether an instruction replaces all flags before anybody can see those from before it. */
export const replacesFlags = ({ row, memory }: Facts): boolean => !memory && (EXACT.has(row.mnemonic) || row.mnemonic === 'IMUL');

const FLAGLESS = new Set(['MOV', 'MOVZX', 'MOVSX', 'MOVSXD', 'NOP', 'BSWAP']);

/** Whether an instruction neither reads flags nor sets them nor can leave. */
export const leavesFlags = ({ row, memory }: Facts): boolean =>
  row.mnemonic === 'LEA' || row.mnemonic === 'NOP' || (!memory && FLAGLESS.has(row.mnemonic));

/** A home that keeps nothing, for flags that nobody will see. */
const unseen = (home: FlagHome): FlagHome => ({
  const: (width, value) => home.const(width, value),
  get32: (field) => home.get32(field),
  get64: (field) => home.get64(field),
  set32: () => {},
  set64: () => {},
});

/** Flags that go to the vCPU's state as ever, unless nobody will see them, and whose conditions later instructions of a sequence take from the operands of the one that set them. */
export class KnownFlags extends Flags {
  private readonly isExact: boolean;

  constructor(
    home: FlagHome,
    private readonly memory: FlagMemory,
    options: { readonly mnemonic: string; readonly seen: boolean },
  ) {
    super(options.seen ? home : unseen(home));
    this.isExact = EXACT.has(options.mnemonic);
  }

  private know(conditions: Conditions): void {
    this.memory.conditions = this.isExact ? conditions : NOTHING;
  }

  protected override put(result: Val<IntWidth>, aux: Val<32>): void {
    super.put(result, aux);
    this.know(NOTHING);
  }

  override add<W extends IntWidth>(result: Val<W>, a: Val<W>, b: Val<W>): void {
    super.add(result, a, b);
    this.know([undefined, () => result.ltU(a), () => result.isZero(), undefined, () => result.ltS(0)]);
  }

  override sub<W extends IntWidth>(result: Val<W>, a: Val<W>, b: Val<W>): void {
    super.sub(result, a, b);
    this.know([undefined, () => a.ltU(b), () => a.eq(b), () => a.leU(b), () => result.ltS(0), undefined, () => a.ltS(b), () => a.leS(b)]);
  }

  override logic<W extends IntWidth>(result: Val<W>): void {
    super.logic(result);
    const none = (): Val<32> => this.x.const(32, 0);
    const isZero = (): Val<32> => result.isZero();
    const isNegative = (): Val<32> => result.ltS(0);
    this.know([none, none, isZero, isZero, isNegative, undefined, isNegative, () => result.leS(0)]);
  }

  override setCarryOverflow(cf: Val<32>, of: Val<32>): void {
    super.setCarryOverflow(cf, of);
    this.know(NOTHING);
  }

  override setCarry(cf: Val<32>): void {
    super.setCarry(cf);
    this.know(NOTHING);
  }

  override set(values: FlagValues): void {
    super.set(values);
    this.know(NOTHING);
  }

  protected override positive(kind: number): Val<32> {
    return this.memory.conditions[kind]?.() ?? super.positive(kind);
  }
}
