import { nearestName } from '@nestvm/isa/models';
import { type BoardName, boardNames, boardProperties } from '@nestvm/machine';
import { UsageError } from '../errors.js';
import { acceleratorOnly, boardOnly, takeOnly } from './only.js';
import { last, type RawOptions } from './parse.js';
import { assertKeys, parseInteger, parseProperties, parseSwitch } from './text.js';

/** Properties that name the nodes in the flash, by unit. */
const FLASH_KEYS = ['pflash0', 'pflash1'];

/** Parses `-M`; `flash`: ids of drives by unit. Throws `UsageError`. */
export function parseMachine(
  raw: RawOptions,
  warnings: string[],
): { board: BoardName; properties: Record<string, boolean>; flash: (string | undefined)[] } {
  const { head, values } = parseProperties(last(raw, 'M') ?? 'pc');
  const rest = new Map(values);
  const type = head || (rest.get('type') ?? 'pc');
  rest.delete('type');
  const board = boardNames.find((name) => name === type.replace(/^pc-i440fx(-\d.*)?$/, 'pc').replace(/^pc-q35(-\d.*)?$/, 'q35'));
  if (board === undefined) {
    const near = nearestName(type, boardNames);
    throw new UsageError(`-M ${type}: no such machine; ${near ? `the nearest is '${near}'` : `there are ${boardNames.join(', ')}`}`);
  }
  const properties: Record<string, boolean> = {};
  const accel = rest.get('accel');
  if (accel !== undefined) acceptAccelerator(`-M accel=${accel}`, accel, warnings);
  rest.delete('accel');
  const flash = FLASH_KEYS.map((key) => rest.get(key));
  for (const key of FLASH_KEYS) rest.delete(key);
  takeOnly(`-M ${board}`, rest, boardOnly);
  const known = boardProperties(board);
  assertKeys(`-M ${board}`, rest, known);
  for (const [key, value] of rest) properties[key] = value === 'auto' ? true : parseSwitch(`-M ${board},${key}`, value);
  if (raw.has('no-acpi')) properties['acpi'] = false;
  if (raw.has('no-hpet')) properties['hpet'] = false;
  return { board, properties, flash };
}

/** What of `-accel` is about hot code. */
export interface AcceleratorSpec {
  /** Whether it is compiled. */
  readonly jit?: boolean | 'force' | 'mixed';
  /** Bytes of host memory that compiled code may take. */
  readonly codeBytes?: number;
}

const MOST_CODE_MIB = 2048;

/** Takes any accelerator's name, with a warning unless it is QEMU's own. */
export function acceptAccelerator(option: string, accel: string, warnings: string[]): AcceleratorSpec {
  const { head, values } = parseProperties(accel.replaceAll(':', ','));
  if (head !== 'tcg') {
    warnings.push(`${option}: Nestvm emulates every instruction itself; '${head}' is ignored`);
    return {};
  }
  const rest = new Map(values);
  takeOnly(option, rest, acceleratorOnly);
  assertKeys(option, rest, ['jit', 'tb-size']);
  const [jit, size] = [values.get('jit'), values.get('tb-size')];
  // QEMU's 0 leaves it to the emulator.
  const mib = size === undefined ? 0 : parseInteger(`${option}: tb-size`, size, 0, MOST_CODE_MIB);
  return {
    ...(jit === undefined ? {} : { jit: jit === 'force' || jit === 'mixed' ? jit : parseSwitch(`${option}: jit`, jit) }),
    ...(mib === 0 ? {} : { codeBytes: mib * 2 ** 20 }),
  };
}
