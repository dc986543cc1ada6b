import { Opcode, SENSE, type Sense } from './codes.js';
import { answerWith, failed, type ScsiAnswer, type ScsiCommand } from './command.js';

/** What mode pages tell of a unit. */
export interface UnitMode {
  readonly type: number;
  readonly readOnly: boolean;
  readonly writeCache: boolean;
  readonly blocks: number;
  readonly blockBytes: number;
  /** Of a drive with a tray. */
  readonly tray?: { readonly open: boolean; readonly locked: boolean };
}

const zeroes = (count: number): number[] => new Array<number>(count).fill(0);

/** Mode pages by their code, for the types of units that have them ("SCSI Block Commands", Caching mode page; "Multi-Media Commands", Capabilities). */
const pages: readonly (readonly [code: number, types: readonly number[], body: (unit: UnitMode) => number[]])[] = [
  // Read-write error recovery: as many tries as the host's file system makes.
  [0x01, [5], () => [0, 5, 0, 0, 0, 0]],
  [0x08, [0], ({ writeCache }) => [writeCache ? 4 : 0, ...zeroes(17)]],
  [0x0a, [0, 5], () => zeroes(10)],
  // Reads CD-R, CD-RW, DVD; a tray, which can be locked and opened.
  [0x2a, [5], ({ tray }) => [0x3b, 0, 0x71, 0x60, 0x29 | (tray?.locked ? 2 : 0), 0, 0x2c, 0x20, 0, 2, 2, 0, 0x2c, 0x20, ...zeroes(6)]],
];

/** Which values are asked for: current, changeable, default, saved. */
const PageControl = { CHANGEABLE: 1, SAVED: 3 } as const;

/** MODE SENSE (6) and (10). No value can be changed. */
export function modeSense(command: ScsiCommand, unit: UnitMode): ScsiAnswer {
  const data = modeData(command.cdb, unit);
  return data instanceof Uint8Array ? answerWith(command, data, modeAllocation(command.cdb)) : failed(data);
}

/** The allocation length of MODE SENSE. */
export const modeAllocation = (cdb: DataView): number => (cdb.getUint8(0) === Opcode.MODE_SENSE_6 ? cdb.getUint8(4) : cdb.getUint16(7));

/** What MODE SENSE gives before it is cut to the allocation length, or why it fails. */
export function modeData(cdb: DataView, unit: UnitMode): Uint8Array | Sense {
  const short = cdb.getUint8(0) === Opcode.MODE_SENSE_6;
  const control = cdb.getUint8(2) >> 6;
  const wanted = cdb.getUint8(2) & 0x3f;
  const subpage = cdb.getUint8(3);
  const found = pages.filter(([code, types]) => types.includes(unit.type) && (wanted === 0x3f || wanted === code));
  if (found.length === 0 || (subpage !== 0 && subpage !== 0xff)) return SENSE.INVALID_FIELD_IN_CDB;
  if (control === PageControl.SAVED) return SENSE.SAVING_NOT_SUPPORTED;
  const body = found.flatMap(([code, , make]) => {
    const values = make(unit);
    return [code, values.length, ...(control === PageControl.CHANGEABLE ? zeroes(values.length) : values)];
  });
  const descriptor = (cdb.getUint8(1) & 8) === 0 && unit.type === 0 ? blockDescriptor(unit) : [];
  // Write-protected; forced unit access is known.
  const specific = unit.type === 0 ? (unit.readOnly ? 0x80 : 0) | 0x10 : 0;
  const rest = [...descriptor, ...body];
  const header = short
    ? [rest.length + 3, mediumType(unit), specific, descriptor.length]
    : [(rest.length + 6) >> 8, (rest.length + 6) & 255, mediumType(unit), specific, 0, 0, 0, descriptor.length];
  return Uint8Array.from([...header, ...rest]);
}

/** What is in a drive with a tray, as hosts of its first years want to know: open, closed and empty, or a disc with data. */
const mediumType = ({ tray, blocks }: UnitMode): number => (tray === undefined ? 0 : tray.open ? 0x71 : blocks === 0 ? 0x70 : 1);

function blockDescriptor({ blocks, blockBytes }: UnitMode): number[] {
  const shown = Math.min(blocks, 0xff_ffff);
  return [0, shown >> 16, (shown >> 8) & 255, shown & 255, 0, blockBytes >> 16, (blockBytes >> 8) & 255, blockBytes & 255];
}
