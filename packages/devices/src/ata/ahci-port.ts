import type { GuestMemory } from '@nestvm/bus';
import { Gate } from '../gate.js';
import {
  Fis,
  Header,
  LINK_UP,
  NO_SIGNATURE,
  NO_STATUS,
  PortCommand,
  PortInterrupt,
  PortRegister,
  Received,
  SOFT_RESET,
  Table,
} from './ahci-registers.js';
import type { SavedPort } from './ahci-state.js';
import { type MemoryRegion, moveByDma } from './dma.js';
import { type AtaDrive, type AtaFailure, type AtaTransfer, isFailure, settle, type TaskFile } from './drive.js';
import { AtaCommand, AtaError, AtaStatus, PACKET_BYTES, Signature } from './registers.js';

const READY = AtaStatus.DRDY | AtaStatus.DSC;

/** A command of a slot, as its header and table say. */
interface SlotCommand {
  readonly slot: number;
  /** Address of the header, where the count of moved bytes goes. */
  readonly header: number;
  readonly table: number;
  readonly regions: number;
  readonly frame: Uint8Array;
}

/** A port of an AHCI controller with its drive ("Serial ATA AHCI 1.3.1 Specification"): takes commands from slots, moves their data, posts frames. */
export class AhciPort {
  readonly #registers = new Uint32Array(0x80 / 4);
  /** The slot whose command is under way, or -1. */
  #slot = -1;
  #epoch = 0;
  /** A command failed: nothing goes on before the guest has stopped the port. */
  #halted = false;
  #soft = false;
  #memory!: GuestMemory;
  #changed: () => void = () => {};
  onActivity: () => void = () => {};
  readonly gate = new Gate();

  constructor(readonly drive: AtaDrive | undefined) {
    this.reset();
  }

  /** `changed`: the interrupt status or its mask is another. */
  connect(memory: GuestMemory, changed: () => void): void {
    this.#memory = memory;
    this.#changed = changed;
  }

  get interrupting(): boolean {
    return (this.#get(PortRegister.IS) & this.#get(PortRegister.IE)) !== 0;
  }

  reset(): void {
    this.#epoch++;
    this.#slot = -1;
    this.#soft = this.#halted = false;
    this.#registers.fill(0);
    this.drive?.reset();
    this.#set(PortRegister.CMD, PortCommand.SPIN_POWER);
    this.#set(PortRegister.TFD, this.drive ? READY : NO_STATUS);
    this.#set(PortRegister.SIG, this.drive ? this.#signature : NO_SIGNATURE);
    this.#set(PortRegister.SSTS, this.drive ? LINK_UP : 0);
  }

  read(offset: number): number {
    return this.#get(offset);
  }

  write(offset: number, value: number): void {
    switch (offset) {
      case PortRegister.CLB:
        return this.#set(offset, value & ~0x3ff);
      case PortRegister.FB:
        return this.#set(offset, value & ~0xff);
      case PortRegister.CLBU:
      case PortRegister.FBU:
        return this.#set(offset, value);
      case PortRegister.IS:
      case PortRegister.SERR:
        this.#set(offset, this.#get(offset) & ~value);
        return this.#changed();
      case PortRegister.IE:
        this.#set(offset, value & PortInterrupt.ALL);
        return this.#changed();
      case PortRegister.CMD:
        return this.#control(value);
      case PortRegister.SCTL:
        return this.#linkControl(value);
      case PortRegister.SACT:
        if (this.#started) this.#set(offset, this.#get(offset) | value);
        return;
      case PortRegister.CI:
        if (this.#started) this.#set(offset, this.#get(offset) | value);
        return this.#run();
      default:
    }
  }

  save(): SavedPort {
    return { registers: [...this.#registers], soft: this.#soft, halted: this.#halted, drive: this.drive?.save() ?? {} };
  }

  load({ registers, soft, halted, drive }: SavedPort): void {
    this.gate.forget();
    this.#epoch++;
    this.#slot = -1;
    this.#registers.set(registers);
    this.#soft = soft;
    this.#halted = halted;
    this.drive?.load(drive);
  }

  /** Begins the commands that wait in slots: after a snapshot was loaded. */
  resume(): void {
    this.gate.pass(() => this.#run());
  }

  get #started(): boolean {
    return (this.#get(PortRegister.CMD) & PortCommand.START) !== 0;
  }

  get #signature(): number {
    return ((this.drive?.packet ? Signature.PACKET : Signature.DISK) << 16) + 0x101;
  }

  #get(offset: number): number {
    return this.#registers[offset >> 2]!;
  }

  #set(offset: number, value: number): void {
    this.#registers[offset >> 2] = value;
  }

  #address(offset: number): number {
    return this.#get(offset) + (this.#get(offset + 4) & 0xf_ffff) * 2 ** 32;
  }

  #control(value: number): void {
    let command = value & PortCommand.WRITABLE;
    if (value & PortCommand.RECEIVE) command |= PortCommand.RECEIVING;
    if (value & PortCommand.START) command |= PortCommand.RUNNING;
    else {
      this.#epoch++;
      this.#slot = -1;
      this.#halted = false;
      this.#set(PortRegister.CI, 0);
      this.#set(PortRegister.SACT, 0);
    }
    if (value & PortCommand.OVERRIDE) this.#set(PortRegister.TFD, this.#get(PortRegister.TFD) & ~(AtaStatus.BSY | AtaStatus.DRQ));
    this.#set(PortRegister.CMD, command);
    this.#run();
  }

  /** COMRESET, when the initialization field goes from 1 to 0. */
  #linkControl(value: number): void {
    const before = this.#get(PortRegister.SCTL) & 15;
    this.#set(PortRegister.SCTL, value & 0xfff);
    if (before !== 1 || (value & 15) !== 0 || this.drive === undefined) return;
    this.#epoch++;
    this.#slot = -1;
    this.drive.reset();
    this.#set(PortRegister.SSTS, LINK_UP);
    this.#set(PortRegister.SIG, this.#signature);
    this.#postRegisters(READY, 1, undefined, false);
  }

  /** Takes commands, the lowest slot first, until one has to be waited for. */
  #run(): void {
    while (this.#started && this.#slot < 0) {
      const waiting = this.#get(PortRegister.CI);
      if (waiting === 0 || this.#halted) return;
      this.#slot = 31 - Math.clz32(waiting & -waiting);
      this.#execute(this.#fetch(this.#slot));
    }
  }

  #fetch(slot: number): SlotCommand {
    const header = this.#address(PortRegister.CLB) + slot * Header.BYTES;
    const bytes = new Uint8Array(16);
    this.#memory.read(header, bytes);
    const view = new DataView(bytes.buffer);
    const table = (view.getUint32(8, true) & ~0x7f) >>> 0;
    const high = (view.getUint32(12, true) & 0xf_ffff) * 2 ** 32;
    const frame = new Uint8Array(Table.PACKET + 16);
    this.#memory.read(table + high, frame);
    return { slot, header, table: table + high, regions: view.getUint16(2, true), frame };
  }

  #execute(command: SlotCommand): void {
    const { frame } = command;
    const { drive } = this;
    this.#set(PortRegister.CMD, (this.#get(PortRegister.CMD) & ~0x1f00) | (command.slot << 8));
    if (drive === undefined || frame[0] !== Fis.TO_DEVICE) return this.#complete(command, AtaError.ABRT, undefined);
    if ((frame[1]! & Fis.COMMAND) === 0) return this.#deviceControl(command);
    const task = taskOf(frame);
    let transfer: AtaTransfer | AtaFailure = drive.start(task);
    if (!isFailure(transfer) && transfer.direction === 'packet') transfer = drive.startPacket(frame.slice(Table.PACKET, Table.PACKET + PACKET_BYTES));
    if (isFailure(transfer)) return this.#complete(command, transfer.error, task);
    this.#move(command, task, transfer);
  }

  /** A frame without a command sets the control register: software reset. */
  #deviceControl({ slot, frame }: SlotCommand): void {
    const resetting = (frame[15]! & SOFT_RESET) !== 0;
    const done = this.#soft && !resetting;
    this.#soft = resetting;
    this.#slot = -1;
    this.#set(PortRegister.CI, this.#get(PortRegister.CI) & ~(1 << slot));
    if (!done) return;
    this.drive?.reset();
    this.#set(PortRegister.SIG, this.#signature);
    this.#postRegisters(READY, 1, undefined, false);
  }

  #move(command: SlotCommand, task: TaskFile, transfer: AtaTransfer): void {
    const epoch = this.#epoch;
    this.#set(PortRegister.TFD, READY | AtaStatus.BSY);
    let late = false;
    const pass = (step: () => void): void => this.gate.pass(() => epoch === this.#epoch && step());
    const end = (well: boolean): void =>
      pass(() => {
        this.#complete(command, well ? 0 : this.drive!.failure, task, transfer);
        if (!late) return;
        this.#run();
        this.onActivity();
      });
    moveByDma(this.#memory, this.#regions(command, transfer.lengthBytes), transfer, (well, moved) =>
      pass(() => {
        this.#count(command, well ? moved : 0);
        if (well) settle(() => transfer.finish?.(), end);
        else end(false);
      }),
    );
    late = true;
  }

  #count({ header }: SlotCommand, moved: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, moved, true);
    this.#memory.write(header + 4, bytes);
  }

  #regions({ table, regions }: SlotCommand, lengthBytes: number): MemoryRegion[] {
    const result: MemoryRegion[] = [];
    const entry = new Uint8Array(Table.REGION_BYTES);
    const view = new DataView(entry.buffer);
    for (let i = 0, held = 0; i < regions && held < lengthBytes; i++) {
      this.#memory.read(table + Table.REGIONS + i * Table.REGION_BYTES, entry);
      const address = view.getUint32(0, true) + (view.getUint32(4, true) & 0xf_ffff) * 2 ** 32;
      const length = (view.getUint32(12, true) & 0x3f_ffff) + 1;
      result.push({ address, length });
      held += length;
    }
    return result;
  }

  #complete({ slot }: SlotCommand, error: number, task: TaskFile | undefined, transfer?: AtaTransfer): void {
    const status = error === 0 ? READY : READY | AtaStatus.ERR;
    const bit = 1 << slot;
    this.#slot = -1;
    this.#halted = error !== 0;
    // What failed stays in its slot: the guest looks which it was, and starts the port again.
    if (error === 0) this.#set(PortRegister.CI, this.#get(PortRegister.CI) & ~bit);
    const queued = task?.command === AtaCommand.READ_FPDMA_QUEUED || task?.command === AtaCommand.WRITE_FPDMA_QUEUED;
    if (queued) return this.#postSetBits(status, error, bit);
    const pio = error === 0 && transfer?.direction === 'in' && !transfer.dma && task?.command !== AtaCommand.PACKET;
    if (pio) this.#postPioSetup(status, task, transfer.lengthBytes);
    else this.#postRegisters(status, error, task, true);
  }

  #post(at: number, frame: Uint8Array): void {
    if (this.#get(PortRegister.CMD) & PortCommand.RECEIVE) this.#memory.write(this.#address(PortRegister.FB) + at, frame);
  }

  #raise(bits: number, failed: boolean): void {
    this.#set(PortRegister.IS, this.#get(PortRegister.IS) | bits | (failed ? PortInterrupt.TASK_FILE : 0));
    this.#changed();
  }

  #frame(type: number, status: number, error: number, task: TaskFile | undefined): Uint8Array {
    const frame = new Uint8Array(Fis.BYTES);
    frame.set([type, Fis.INTERRUPT, status, error]);
    const { lba, device, count } = task ?? { lba: 1 + ((this.#signature >>> 16) << 8), device: 0, count: 1 };
    for (let i = 0; i < 3; i++) {
      frame[4 + i] = lba / 2 ** (8 * i);
      frame[8 + i] = lba / 2 ** (24 + 8 * i);
    }
    frame[7] = device;
    frame[12] = task?.command === AtaCommand.PACKET ? 3 : count;
    frame[13] = count >> 8;
    this.#set(PortRegister.TFD, status | (error << 8));
    return frame;
  }

  #postRegisters(status: number, error: number, task: TaskFile | undefined, interrupts: boolean): void {
    this.#post(Received.TO_HOST, this.#frame(Fis.TO_HOST, status, error, task));
    if (interrupts) this.#raise(PortInterrupt.REGISTER, (status & AtaStatus.ERR) !== 0);
  }

  #postPioSetup(status: number, task: TaskFile | undefined, length: number): void {
    const frame = this.#frame(Fis.PIO_SETUP, status, 0, task);
    frame[1] = Fis.INTERRUPT | 0x20;
    frame[15] = status;
    frame[16] = length;
    frame[17] = length >> 8;
    this.#post(Received.PIO_SETUP, frame);
    this.#raise(PortInterrupt.PIO_SETUP, false);
  }

  #postSetBits(status: number, error: number, bit: number): void {
    const frame = new Uint8Array(8);
    frame.set([Fis.SET_BITS, Fis.INTERRUPT, status & 0x77, error]);
    if (error === 0) {
      new DataView(frame.buffer).setUint32(4, bit >>> 0, true);
      this.#set(PortRegister.SACT, this.#get(PortRegister.SACT) & ~bit);
    }
    this.#set(PortRegister.TFD, status | (error << 8));
    this.#post(Received.SET_BITS, frame);
    this.#raise(PortInterrupt.SET_BITS, error !== 0);
  }
}

/** The registers that a frame brings. */
function taskOf(frame: Uint8Array): TaskFile {
  const low = frame[4]! + frame[5]! * 2 ** 8 + frame[6]! * 2 ** 16;
  const high = frame[8]! + frame[9]! * 2 ** 8 + frame[10]! * 2 ** 16;
  return {
    command: frame[2]!,
    features: frame[3]! | (frame[11]! << 8),
    count: frame[12]! | (frame[13]! << 8),
    lba: low + high * 2 ** 24,
    device: frame[7]!,
  };
}
