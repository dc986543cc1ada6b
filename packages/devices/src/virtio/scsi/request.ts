import type { Sense } from '../../scsi/codes.js';
import { ScsiStatus, senseData } from '../../scsi/codes.js';
import type { ScsiAnswer, ScsiCommand } from '../../scsi/command.js';
import type { Chain } from '../ring/chain.js';
import { REQUEST_BYTES, RESPONSE_BYTES, ScsiResponse } from './registers.js';

/** Bytes of a command descriptor block that commands look at. */
const LOOKED_AT = 32;

/** A request in a queue: its command for the unit, and room for the response. */
export class ScsiRequest implements ScsiCommand {
  readonly cdb: DataView;
  readonly outBytes: number;
  readonly inBytes: number;
  /** The eight bytes of its LUN, and its identifier. */
  readonly header = new Uint8Array(REQUEST_BYTES);

  constructor(
    readonly chain: Chain,
    private readonly cdbBytes: number,
    private readonly senseBytes: number,
  ) {
    chain.read(0, this.header);
    const cdb = new Uint8Array(Math.max(LOOKED_AT, cdbBytes));
    chain.read(REQUEST_BYTES, cdb.subarray(0, cdbBytes));
    this.cdb = new DataView(cdb.buffer);
    this.outBytes = chain.readableBytes - REQUEST_BYTES - cdbBytes;
    this.inBytes = chain.writableBytes - RESPONSE_BYTES - senseBytes;
  }

  get viewable(): boolean {
    return this.chain.viewable;
  }

  read(offset: number, target: Uint8Array): number {
    return this.chain.read(REQUEST_BYTES + this.cdbBytes + offset, target);
  }

  visitOut(offset: number, length: number, visit: (bytes: Uint8Array, done: number) => void): number {
    return this.chain.visitReadable(REQUEST_BYTES + this.cdbBytes + offset, length, visit);
  }

  visitIn(offset: number, length: number, visit: (bytes: Uint8Array, done: number) => void): number {
    return this.chain.visitWritable(RESPONSE_BYTES + this.senseBytes + offset, length, visit);
  }

  /** Writes what a unit has answered; returns the bytes of the chain that count as written. */
  answer(answer: ScsiAnswer): number {
    if (answer.kind === 'overrun') return this.respond(ScsiResponse.OVERRUN);
    if (answer.kind === 'failed') return this.respond(ScsiResponse.OK, ScsiStatus.CHECK_CONDITION, answer.sense);
    const expected = Math.max(this.outBytes, this.inBytes);
    return this.respond(ScsiResponse.OK, ScsiStatus.GOOD, undefined, answer.bytes, expected - answer.bytes);
  }

  /** Writes a response without data. */
  respond(response: number, status = 0, sense?: Sense, bytes = 0, residual = Math.max(this.outBytes, this.inBytes)): number {
    const data = sense ? senseData(sense).subarray(0, this.senseBytes) : new Uint8Array(0);
    const head = new DataView(new ArrayBuffer(RESPONSE_BYTES));
    head.setUint32(0, data.length, true);
    head.setUint32(4, residual >>> 0, true);
    head.setUint8(10, status);
    head.setUint8(11, response);
    this.chain.write(0, new Uint8Array(head.buffer));
    this.chain.write(RESPONSE_BYTES, data);
    return RESPONSE_BYTES + this.senseBytes + (this.inBytes > 0 ? bytes : 0);
  }
}
