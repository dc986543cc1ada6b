import type { GuestMemory, Width } from '@nestvm/bus';
import { Gate } from '../gate.js';
import { BusMaster } from './bus-master.js';
import { moveByDma } from './dma.js';
import { type AtaDrive, type AtaTransfer, isFailure, settle, type TaskFile } from './drive.js';
import { IdeControl, IdeRegister } from './ide-registers.js';
import type { SavedChannel } from './ide-state.js';
import { AtaCommand, AtaDevice, AtaError, AtaStatus, InterruptReason, PACKET_BYTES, Signature } from './registers.js';

const READY = AtaStatus.DRDY | AtaStatus.DSC;
const NO_BYTES = new Uint8Array(0);
/** What the data port does: nothing, takes a packet, gives or takes a block; a transfer by DMA; the drive works. */
const Phase = { IDLE: 0, PACKET: 1, IN: 2, OUT: 3, DMA: 4, BUSY: 5 } as const;
/** Most bytes of a block of a packet command when the guest gives no limit. */
const PACKET_BLOCK = 0xfffe;

/** One channel of an IDE controller: the task file, the data port, two drives ("AT Attachment with Packet Interface"). */
export class IdeChannel {
  readonly master = new BusMaster();
  readonly #drives: (AtaDrive | undefined)[];
  /** Features, count and the three address bytes: as written last, and as written before. */
  readonly #low = new Uint8Array(5);
  readonly #high = new Uint8Array(5);
  #device = 0;
  #status = 0;
  #error = 0;
  #control = 0;
  #interrupt = false;
  #phase: number = Phase.IDLE;
  #transfer: AtaTransfer | undefined;
  #task: TaskFile = { command: 0, features: 0, count: 0, lba: 0, device: 0 };
  #packet = NO_BYTES;
  #moved = 0;
  #buffer = NO_BYTES;
  #at = 0;
  /** Counts resets, so that what ends after one has no effect. */
  #epoch = 0;
  #dma!: GuestMemory;
  #drive: (level: 0 | 1) => void = () => {};
  /** A transfer has ended outside of the vCPUs' turn. */
  onActivity: () => void = () => {};
  readonly gate = new Gate();

  constructor(
    readonly name: string,
    drives: readonly (AtaDrive | undefined)[],
  ) {
    this.#drives = [drives[0], drives[1]];
    this.master.onStart = () => this.#runDma();
  }

  connect(dma: GuestMemory, line: (level: 0 | 1) => void): void {
    this.#dma = dma;
    this.#drive = line;
  }

  reset(): void {
    for (const drive of this.#drives) drive?.reset();
    this.master.reset();
    this.#control = 0;
    this.#abandon();
    this.#showSignatures();
    this.#setInterrupt(false);
  }

  // The command block, without its data port.

  read(offset: number): number {
    if (offset === IdeRegister.COMMAND) {
      this.#setInterrupt(false);
      return this.alternateStatus();
    }
    if (!this.#present) return 0;
    if (offset === IdeRegister.DEVICE) return this.#device | 0xa0;
    if (offset === IdeRegister.FEATURES) return this.#error;
    return (this.#control & IdeControl.HIGH_ORDER ? this.#high : this.#low)[offset - 1]!;
  }

  write(offset: number, value: number): void {
    this.#control &= ~IdeControl.HIGH_ORDER;
    if (offset === IdeRegister.COMMAND) return this.#command(value);
    if (this.#status & (AtaStatus.BSY | AtaStatus.DRQ)) return;
    if (offset === IdeRegister.DEVICE) {
      this.#device = value;
      this.#driveLine();
      return;
    }
    this.#high[offset - 1] = this.#low[offset - 1]!;
    this.#low[offset - 1] = value;
  }

  alternateStatus(): number {
    return this.#present ? this.#status : 0;
  }

  control(value: number): void {
    const before = this.#control;
    this.#control = value;
    if (value & ~before & IdeControl.RESET) {
      this.#abandon();
      this.#status = AtaStatus.BSY;
      this.#setInterrupt(false);
    } else if (before & ~value & IdeControl.RESET) {
      for (const drive of this.#drives) drive?.reset();
      this.#showSignatures();
    }
    this.#driveLine();
  }

  // The data port.

  readData(width: Width): number {
    if (this.#phase !== Phase.IN) return 0;
    let value = 0;
    for (let i = 0; i < width && this.#at < this.#buffer.length; i++) value |= this.#buffer[this.#at++]! << (8 * i);
    if (this.#at >= this.#buffer.length) this.#next(true);
    return value >>> 0;
  }

  writeData(width: Width, value: number): void {
    if (this.#phase !== Phase.OUT && this.#phase !== Phase.PACKET) return;
    for (let i = 0; i < width && this.#at < this.#buffer.length; i++) this.#buffer[this.#at++] = value >>> (8 * i);
    if (this.#at < this.#buffer.length) return;
    if (this.#phase === Phase.PACKET) this.#startPacket();
    else this.#takeBlock();
  }

  // Bus-master registers.

  readMaster(offset: number): number {
    return this.master.read(offset);
  }

  writeMaster(offset: number, value: number): void {
    this.master.write(offset, value);
  }

  save(): SavedChannel {
    const busy = this.#phase === Phase.BUSY;
    return {
      task: { ...this.#task },
      low: [...this.#low],
      high: [...this.#high],
      device: this.#device,
      status: this.#status,
      error: this.#error,
      control: this.#control,
      interrupt: this.#interrupt,
      phase: this.#phase,
      packet: [...this.#packet],
      moved: this.#moved,
      buffer: busy ? [] : [...this.#buffer],
      at: busy ? 0 : this.#at,
      master: this.master.save(),
      drives: this.#drives.map((drive) => drive?.save() ?? {}),
    };
  }

  load(saved: SavedChannel): void {
    this.gate.forget();
    this.#abandon();
    this.#drives.forEach((drive, i) => drive?.load(saved.drives[i] ?? {}));
    this.#low.set(saved.low);
    this.#high.set(saved.high);
    this.#task = { ...saved.task };
    this.#packet = Uint8Array.from(saved.packet);
    this.#device = saved.device;
    this.#error = saved.error;
    this.#control = saved.control;
    this.master.load(saved.master);
    this.#resume(saved);
    this.#status = saved.status;
    this.#interrupt = saved.interrupt;
    this.#driveLine();
  }

  /** Begins the transfer that was running again, at its place. */
  #resume({ phase, moved, buffer, at }: SavedChannel): void {
    const drive = this.#selected;
    if (phase === Phase.IDLE || drive === undefined) return;
    const transfer = this.#packet.length === PACKET_BYTES ? drive.startPacket(this.#packet) : drive.start({ ...this.#task });
    if (isFailure(transfer)) return;
    this.#transfer = transfer;
    this.#moved = Math.min(moved, transfer.lengthBytes);
    this.#buffer = Uint8Array.from(buffer);
    this.#at = Math.min(at, buffer.length);
    this.#phase = phase === Phase.BUSY ? Phase.DMA : phase;
    if (phase === Phase.BUSY) this.#next(false);
  }

  get #selected(): AtaDrive | undefined {
    return this.#drives[this.#device & AtaDevice.SECOND ? 1 : 0];
  }

  /** Whether something answers: the drive that is selected. */
  get #present(): boolean {
    return this.#selected !== undefined;
  }

  #abandon(): void {
    this.#epoch++;
    this.#phase = Phase.IDLE;
    this.#transfer = undefined;
    this.#packet = this.#buffer = NO_BYTES;
    this.#at = this.#moved = 0;
  }

  #showSignatures(): void {
    this.#device = 0;
    this.#error = 1;
    this.#showSignature();
  }

  #showSignature(): void {
    const packet = this.#selected?.packet === true;
    const signature = packet ? Signature.PACKET : Signature.DISK;
    this.#low.set([0, 1, 1, signature & 0xff, signature >> 8]);
    this.#high.fill(0);
    this.#status = packet ? 0 : READY;
  }

  #command(command: number): void {
    const drive = this.#selected;
    if (command === AtaCommand.DEVICE_RESET && drive?.packet) {
      this.#abandon();
      drive.reset();
      this.#error = 1;
      return this.#showSignature();
    }
    if (this.#status & (AtaStatus.BSY | AtaStatus.DRQ)) return;
    if (command === AtaCommand.DIAGNOSTIC) {
      this.#showSignatures();
      return this.#setInterrupt(true);
    }
    if (drive === undefined) return;
    this.#setInterrupt(false);
    this.#abandon();
    const [low, high] = [this.#low, this.#high];
    this.#task = {
      command,
      features: low[0]! | (high[0]! << 8),
      count: low[1]! | (high[1]! << 8),
      lba: low[2]! + low[3]! * 2 ** 8 + low[4]! * 2 ** 16 + high[2]! * 2 ** 24 + high[3]! * 2 ** 32 + high[4]! * 2 ** 40,
      device: this.#device,
    };
    this.#error = 0;
    const task = { ...this.#task };
    const transfer = drive.start(task);
    if (isFailure(transfer)) {
      // A command that a packet drive does not know ends with its signature.
      if (drive.packet) this.#showSignature();
      return this.#end(transfer.error);
    }
    this.#showTask(task);
    this.#begin(transfer);
  }

  /** What a command has put into the registers. */
  #showTask({ count, lba, device }: TaskFile): void {
    if (count !== this.#task.count) this.#low[1] = count;
    if (lba === this.#task.lba && device === this.#task.device) return;
    this.#device = device;
    for (let i = 0; i < 3; i++) {
      this.#low[2 + i] = lba / 2 ** (8 * i);
      this.#high[2 + i] = lba / 2 ** (24 + 8 * i);
    }
  }

  #begin(transfer: AtaTransfer): void {
    this.#transfer = transfer;
    this.#moved = 0;
    if (transfer.direction === 'packet') {
      this.#phase = Phase.PACKET;
      this.#buffer = new Uint8Array(PACKET_BYTES);
      this.#at = 0;
      this.#low[1] = InterruptReason.COMMAND;
      this.#status = READY | AtaStatus.DRQ;
    } else this.#next(false);
  }

  #startPacket(): void {
    const byDma = this.#transfer?.dma === true;
    this.#packet = this.#buffer;
    const transfer = this.#selected!.startPacket(this.#packet);
    if (isFailure(transfer)) return this.#end(transfer.error);
    this.#begin({ ...transfer, dma: byDma && transfer.lengthBytes > 0 });
  }

  /** Goes on with the transfer: the next block, or its end. */
  #next(going: boolean): void {
    const transfer = this.#transfer!;
    if (this.#moved >= transfer.lengthBytes) return this.#finish(transfer, going);
    if (transfer.dma) {
      this.#phase = Phase.DMA;
      this.#status = READY | AtaStatus.DRQ;
      if (this.master.running) this.#runDma();
      return;
    }
    this.#buffer = new Uint8Array(this.#blockLength(transfer));
    this.#at = 0;
    if (transfer.direction === 'in') return this.#giveBlock(transfer);
    this.#phase = Phase.OUT;
    this.#status = READY | AtaStatus.DRQ;
    // The first block is waited for without an interrupt.
    if (going) this.#setInterrupt(true);
  }

  #blockLength({ lengthBytes, blockBytes }: AtaTransfer): number {
    const left = lengthBytes - this.#moved;
    if (this.#packet.length === 0) return Math.min(blockBytes, left);
    const limit = (this.#task.lba >> 8) & 0xffff || PACKET_BLOCK;
    return Math.min(left, Math.max(2, limit & ~1));
  }

  #giveBlock(transfer: AtaTransfer): void {
    const buffer = this.#buffer;
    this.#work(
      () => transfer.move(this.#moved, buffer),
      () => {
        this.#moved += buffer.length;
        this.#phase = Phase.IN;
        this.#status = READY | AtaStatus.DRQ;
        if (this.#packet.length > 0) {
          this.#low[1] = InterruptReason.TO_HOST;
          this.#low[3] = buffer.length & 0xff;
          this.#low[4] = buffer.length >> 8;
        }
        this.#setInterrupt(true);
      },
    );
  }

  #takeBlock(): void {
    const transfer = this.#transfer!;
    const buffer = this.#buffer;
    this.#work(
      () => transfer.move(this.#moved, buffer),
      () => {
        this.#moved += buffer.length;
        this.#next(true);
      },
    );
  }

  /** Everything was moved. The last block that a disk gives is not followed by an interrupt. */
  #finish(transfer: AtaTransfer, going: boolean): void {
    const silent = going && transfer.direction === 'in' && this.#packet.length === 0;
    this.#work(
      () => transfer.finish?.(),
      () => this.#end(0, silent),
    );
  }

  /** Does what may take time, as a drive that is busy; then goes on, unless it failed or there was a reset. */
  #work(step: () => void | Promise<void>, then: () => void): void {
    this.#occupy(() => {
      let late = false;
      const pass = this.#passing();
      settle(step, (well) =>
        pass(() => {
          if (well) then();
          else this.#end(this.#selected?.failure ?? AtaError.ABRT);
          if (late) this.onActivity();
        }),
      );
      late = true;
    });
  }

  /** Does a step while the machine runs, unless there is a reset before. */
  #passing(): (step: () => void) => void {
    const epoch = this.#epoch;
    return (step) => this.gate.pass(() => epoch === this.#epoch && step());
  }

  /** A drive that is busy, and begins as soon as the machine runs: until then its disk is somebody else's. */
  #occupy(work: () => void): void {
    this.#phase = Phase.BUSY;
    this.#status = AtaStatus.BSY;
    this.#passing()(work);
  }

  #runDma(): void {
    const transfer = this.#transfer;
    if (this.#phase !== Phase.DMA || transfer === undefined) return;
    const regions = this.master.regions(this.#dma, transfer.lengthBytes);
    this.#occupy(() => {
      let late = false;
      const pass = this.#passing();
      moveByDma(this.#dma, regions, transfer, (well, moved) =>
        pass(() => {
          this.#moved = moved;
          if (!well) this.#end(this.#selected?.failure ?? AtaError.ABRT);
          // Too little room: the drive waits for ever, the bus master has stopped ("Programming Interface for Bus Master IDE Controller", Status Register).
          else if (moved < transfer.lengthBytes) this.master.stop();
          else this.#finish(transfer, false);
          if (late) this.onActivity();
        }),
      );
      late = true;
    });
  }

  #end(error: number, silent = false): void {
    const wasDma = this.#transfer?.dma === true;
    const packet = this.#selected?.packet === true;
    this.#abandon();
    this.#error = error;
    this.#status = error === 0 ? READY : READY | AtaStatus.ERR;
    if (packet && this.#task.command === AtaCommand.PACKET) this.#low[1] = InterruptReason.COMMAND | InterruptReason.TO_HOST;
    if (wasDma) this.master.stop();
    if (!silent) this.#setInterrupt(true);
  }

  #setInterrupt(level: boolean): void {
    if (level && !this.#interrupt) this.master.noteInterrupt();
    this.#interrupt = level;
    this.#driveLine();
  }

  #driveLine(): void {
    this.#drive(this.#interrupt && (this.#control & IdeControl.NO_INTERRUPT) === 0 ? 1 : 0);
  }
}
