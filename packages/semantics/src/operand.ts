import type { IntWidth, Val } from '@nestvm/emit';
import { type OperandSpec, vcpuState } from '@nestvm/isa';
import type { Context, Place } from './context.js';
import { SemanticsError } from './errors.js';

/** Width of an integer operand type letter under an operand size (SDM Vol. 2, Appendix A, "Codes for Operand Type"). */
export function operandWidth(type: string, operandSize: 16 | 32 | 64): IntWidth {
  switch (type) {
    case 'b':
      return 8;
    case 'w':
      return 16;
    case 'd':
      return 32;
    case 'q':
      return 64;
    case 'z':
      return operandSize === 64 ? 32 : operandSize;
    case 'y':
      return operandSize === 64 ? 64 : 32;
    case '':
    case 'v':
      return operandSize;
    default:
      throw new SemanticsError('unknown-operand', `operand type '${type}' is no integer: use a vector or x87 operand`);
  }
}

/** An integer operand of the instruction at hand. */
export interface Operand<W extends IntWidth = IntWidth> {
  readonly width: W;
  readonly isMemory: boolean;
  /** Its value. A memory operand is loaded once; later calls give the same value. */
  read(): Val<W>;
  /** Stores a result. After `modify()`, through the same translation. */
  write(value: Val<W>): void;
  /** Read for read-modify-write: memory is translated once, for writing. */
  modify(): Val<W>;
}

const RAX = vcpuState.offset.gpr;
const FIXED: Record<string, number> = { AL: RAX, AX: RAX, rAX: RAX, eAX: RAX, CL: RAX + 8, DX: RAX + 16 };

class RegisterOperand<W extends IntWidth> implements Operand<W> {
  readonly isMemory = false;
  constructor(
    private readonly x: Context,
    readonly width: W,
    private readonly offset: Val<32> | number,
  ) {}
  read(): Val<W> {
    return this.x.readGpr(this.width, this.offset);
  }
  modify(): Val<W> {
    return this.read();
  }
  write(value: Val<W>): void {
    this.x.writeGpr(this.width, this.offset, value);
  }
}

class MemoryOperand<W extends IntWidth> implements Operand<W> {
  readonly isMemory = true;
  private place: Place<W> | undefined;
  private value: Val<W> | undefined;
  constructor(
    private readonly x: Context,
    readonly width: W,
    private readonly address: (access: 0 | 1) => Val<64>,
  ) {}
  read(): Val<W> {
    this.value ??= this.x.engine.load(this.x, this.width, this.address(0));
    return this.value;
  }
  modify(): Val<W> {
    this.place ??= this.x.engine.modify(this.x, this.width, this.address(1));
    return this.place.read();
  }
  write(value: Val<W>): void {
    if (this.place) this.place.write(value);
    else this.x.engine.store(this.x, this.width, this.address(1), value);
  }
}

class ImmediateOperand<W extends IntWidth> implements Operand<W> {
  readonly isMemory = false;
  constructor(
    private readonly x: Context,
    readonly width: W,
    private readonly constant: number | null,
  ) {}
  read(): Val<W> {
    if (this.constant !== null) return this.x.const(this.width, this.constant);
    const { fields } = this.x;
    return (this.width === 64 ? fields.immediate() : fields.immediate32().trunc(this.width)) as Val<W>;
  }
  modify(): Val<W> {
    return this.read();
  }
  write(): never {
    throw new SemanticsError('read-only-operand', 'an immediate cannot be written');
  }
}

/** The general-purpose, memory or immediate operand that a row's operand means under the facts. */
export function integerOperand(x: Context, spec: OperandSpec, width: IntWidth = operandWidth(spec.type, x.facts.operandSize)): Operand {
  const { fields } = x;
  switch (spec.method) {
    case 'E':
    case 'M':
      if (x.facts.memory) return new MemoryOperand(x, width, (access) => x.operandAddress(width / 8, access));
      return new RegisterOperand(x, width, fields.rm());
    case 'R':
      return new RegisterOperand(x, width, fields.rm());
    case 'G':
    case 'Z':
      return new RegisterOperand(x, width, fields.reg());
    case 'B':
      return new RegisterOperand(x, width, fields.vvvv());
    case 'O':
      return new MemoryOperand(x, width, (access) =>
        x.linear(x.facts.addressSize === 64 ? fields.immediate() : fields.immediate().and(0xffffffffn), width / 8, access),
      );
    case 'I':
    case 'sI':
      return new ImmediateOperand(x, width, null);
    case '1':
      return new ImmediateOperand(x, 8, 1);
    default: {
      const offset = FIXED[spec.method];
      if (offset === undefined)
        throw new SemanticsError('unknown-operand', `operand ${spec.method}${spec.type} of ${x.facts.row.mnemonic} is no integer operand`);
      const fixedWidth =
        spec.method === 'AL' || spec.method === 'CL'
          ? 8
          : spec.method === 'AX' || spec.method === 'DX'
            ? 16
            : spec.method === 'eAX' && x.facts.operandSize === 64
              ? 32
              : x.facts.operandSize;
      return new RegisterOperand(x, fixedWidth, offset);
    }
  }
}
