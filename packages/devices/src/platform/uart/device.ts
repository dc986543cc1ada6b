import { type Clock, type Device, type Line, type Timer, ticksToNs, type Wiring } from '@nestvm/bus';
import { type SavableDevice, savedDeadline } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';
import { Fcr, FIFO_BYTES, Ier, Iir, Lcr, Lsr, Mcr, Msr, TRIGGER_LEVELS, UART_HZ, UartRegister } from './registers.js';
import { type SavedUart, uartSchema } from './state.js';

/** Where a UART's bytes go. */
export interface SerialBackend {
  /** One byte sent by the guest. */
  write(byte: number): void;
}

/** How a UART is plugged in. */
export interface UartOptions {
  /** Unit name, for example `com1`. */
  readonly name: string;
  /** First port, for example 0x3f8. */
  readonly base: number;
  /** Interrupt line, for example `isa:4`. */
  readonly line: string;
  /** Default: bytes vanish. */
  readonly backend?: SerialBackend;
}

/** CTS, DSR and DCD are up when somebody listens at the other end. */
const CONNECTED = Msr.CTS | Msr.DSR | Msr.DCD;
/** Host bytes that may wait for room in the receiver FIFO. */
const QUEUE_LIMIT = 1 << 20;

/**
 * A 16550A UART ("PC16550D" data sheet). Sending takes no time: the transmitter is empty again at once, and THR-empty interrupts follow each byte.
 * OUT2 does not gate the interrupt (as in QEMU, so that small guests need not know of it). Received bytes wait in a queue until the FIFO has been emptied, and then come in FIFO-sized bursts, one character time apart.
 */
export class Uart implements Device, SavableDevice<SavedUart> {
  readonly name: string;
  readonly #options: UartOptions;
  #divisor = 12;
  #ier = 0;
  #fcr = 0;
  #lcr = 0;
  #mcr: number = Mcr.OUT2;
  #errors = 0;
  #deltas = 0;
  #modem = CONNECTED;
  #scratch = 0;
  /** A THR-empty interrupt waits: since the last byte sent, or since IER.THR_EMPTY was set. */
  #thrPending = false;
  #timeout = false;
  #fifo: number[] = [];
  #queue: number[] = [];
  #clock!: Clock;
  #irq!: Line;
  #timeoutTimer!: Timer;
  #refillTimer!: Timer;

  constructor(options: UartOptions) {
    this.#options = options;
    this.name = options.name;
  }

  attach(wiring: Wiring): void {
    this.#clock = wiring.clock;
    this.#irq = wiring.line(this.#options.line);
    this.#timeoutTimer = wiring.clock.createTimer(`${this.name} receive timeout`, () => this.#receiveTimeout());
    this.#refillTimer = wiring.clock.createTimer(`${this.name} receiver`, () => this.#refill());
    wiring.pio(
      byteRegion(
        this.name,
        this.#options.base,
        8,
        (offset) => this.#read(offset),
        (offset, value) => this.#write(offset, value),
      ),
    );
  }

  reset(): void {
    this.#divisor = 12;
    this.#ier = this.#fcr = this.#lcr = this.#scratch = 0;
    this.#mcr = Mcr.OUT2;
    this.#errors = this.#deltas = 0;
    this.#modem = CONNECTED;
    this.#thrPending = this.#timeout = false;
    this.#fifo = [];
    this.#timeoutTimer.cancel();
    this.#scheduleRefill();
    this.#drive();
  }

  /** Bytes from the host; they wait until the guest has room. Returns how many were taken: fewer than given only when a MiB is waiting already. */
  receive(bytes: Iterable<number>): number {
    let taken = 0;
    for (const byte of bytes) {
      if (this.#queue.length >= QUEUE_LIMIT) break;
      this.#queue.push(byte & 0xff);
      taken++;
    }
    if (this.#fifo.length === 0 && this.#refillTimer.deadlineNs === Infinity) this.#refill();
    return taken;
  }

  /** Host bytes that the guest has not read yet. */
  get waitingBytes(): number {
    return this.#queue.length + this.#fifo.length;
  }

  save(): SavedUart {
    return {
      divisor: this.#divisor,
      ier: this.#ier,
      fcr: this.#fcr,
      lcr: this.#lcr,
      mcr: this.#mcr,
      errors: this.#errors,
      deltas: this.#deltas,
      modem: this.#modem,
      scratch: this.#scratch,
      thrPending: this.#thrPending,
      timeout: this.#timeout,
      fifo: [...this.#fifo],
      queue: [...this.#queue],
      timeoutAt: savedDeadline(this.#timeoutTimer.deadlineNs),
      refillAt: savedDeadline(this.#refillTimer.deadlineNs),
    };
  }

  load(saved: unknown): void {
    const state = uartSchema.check(saved, this.name);
    this.#divisor = state.divisor;
    this.#ier = state.ier;
    this.#fcr = state.fcr;
    this.#lcr = state.lcr;
    this.#mcr = state.mcr;
    this.#errors = state.errors & Lsr.ERRORS;
    this.#deltas = state.deltas;
    this.#modem = state.modem & ~Msr.DELTAS;
    this.#scratch = state.scratch;
    this.#thrPending = state.thrPending;
    this.#timeout = state.timeout;
    this.#fifo = state.fifo;
    this.#queue = state.queue;
    rearm(this.#timeoutTimer, state.timeoutAt);
    rearm(this.#refillTimer, state.refillAt);
    this.#drive();
  }

  get #dlab(): boolean {
    return (this.#lcr & Lcr.DLAB) !== 0;
  }

  #read(offset: number): number {
    switch (offset) {
      case UartRegister.DATA:
        return this.#dlab ? this.#divisor & 0xff : this.#readData();
      case UartRegister.IER:
        return this.#dlab ? this.#divisor >> 8 : this.#ier;
      case UartRegister.IIR_FCR:
        return this.#readIir();
      case UartRegister.LCR:
        return this.#lcr;
      case UartRegister.MCR:
        return this.#mcr;
      case UartRegister.LSR:
        return this.#readLsr();
      case UartRegister.MSR:
        return this.#readMsr();
      default:
        return this.#scratch;
    }
  }

  #write(offset: number, value: number): void {
    switch (offset) {
      case UartRegister.DATA:
        if (this.#dlab) this.#divisor = (this.#divisor & 0xff00) | value;
        else this.#send(value);
        break;
      case UartRegister.IER:
        if (this.#dlab) this.#divisor = (this.#divisor & 0xff) | (value << 8);
        else this.#writeIer(value);
        break;
      case UartRegister.IIR_FCR:
        this.#writeFcr(value);
        break;
      case UartRegister.LCR:
        this.#lcr = value;
        break;
      case UartRegister.MCR:
        this.#writeMcr(value & Mcr.ALL);
        break;
      case UartRegister.SCRATCH:
        this.#scratch = value;
        break;
    }
    this.#drive();
  }

  #send(value: number): void {
    // The interrupt falls while the register is full, and rises again: an edge for edge-triggered inputs.
    this.#thrPending = false;
    this.#drive();
    this.#thrPending = true;
    if (this.#mcr & Mcr.LOOP) this.#accept(value);
    else this.#options.backend?.write(value);
  }

  #writeIer(value: number): void {
    // Enabling the interrupt while the holding register is empty, as it always is here, asks for one: drivers start sending so.
    if (value & ~this.#ier & Ier.THR_EMPTY) this.#thrPending = true;
    this.#ier = value & Ier.ALL;
  }

  #writeFcr(value: number): void {
    const toggled = (value ^ this.#fcr) & Fcr.ENABLE;
    if (toggled || value & Fcr.CLEAR_RECEIVER) {
      this.#fifo = [];
      this.#timeout = false;
      this.#timeoutTimer.cancel();
      this.#scheduleRefill();
    }
    if (toggled || value & Fcr.CLEAR_TRANSMITTER) this.#thrPending = true;
    this.#fcr = value & Fcr.ENABLE ? value & Fcr.KEPT : 0;
  }

  #writeMcr(value: number): void {
    const before = this.#modemLevels();
    this.#mcr = value;
    this.#noteModemChange(before);
  }

  #noteModemChange(before: number): void {
    const after = this.#modemLevels();
    const changed = before ^ after;
    this.#deltas |= (changed & (Msr.CTS | Msr.DSR | Msr.DCD)) >> 4;
    if (before & Msr.RI && !(after & Msr.RI)) this.#deltas |= Msr.TERI;
  }

  /** The modem inputs; in loopback they are the modem outputs: CTS←RTS, DSR←DTR, RI←OUT1, DCD←OUT2. */
  #modemLevels(): number {
    if (!(this.#mcr & Mcr.LOOP)) return this.#modem;
    const { RTS, DTR, OUT1, OUT2 } = Mcr;
    return (this.#mcr & RTS ? Msr.CTS : 0) | (this.#mcr & DTR ? Msr.DSR : 0) | (this.#mcr & OUT1 ? Msr.RI : 0) | (this.#mcr & OUT2 ? Msr.DCD : 0);
  }

  #readData(): number {
    if (this.#fifo.length === 0) return 0;
    const byte = this.#fifo.shift() as number;
    this.#timeout = false;
    if (this.#fifo.length === 0) {
      this.#timeoutTimer.cancel();
      this.#scheduleRefill();
    } else this.#armTimeout();
    this.#drive();
    return byte;
  }

  #readIir(): number {
    const cause = this.#cause();
    if (cause === Iir.THR_EMPTY) {
      this.#thrPending = false;
      this.#drive();
    }
    return cause | (this.#fcr & Fcr.ENABLE ? Iir.FIFOS : 0);
  }

  #readLsr(): number {
    const lsr = Lsr.THR_EMPTY | Lsr.EMPTY | this.#errors | (this.#fifo.length > 0 ? Lsr.READY : 0);
    if (this.#errors !== 0) {
      this.#errors = 0;
      this.#drive();
    }
    return lsr;
  }

  #readMsr(): number {
    const msr = this.#modemLevels() | this.#deltas;
    if (this.#deltas !== 0) {
      this.#deltas = 0;
      this.#drive();
    }
    return msr;
  }

  /** The most urgent enabled cause, as IIR shows it. */
  #cause(): number {
    if (this.#ier & Ier.LINE && this.#errors !== 0) return Iir.LINE;
    if (this.#ier & Ier.RECEIVED) {
      if (this.#timeout) return Iir.TIMEOUT;
      if (this.#fifo.length >= this.#trigger()) return Iir.RECEIVED;
    }
    if (this.#ier & Ier.THR_EMPTY && this.#thrPending) return Iir.THR_EMPTY;
    if (this.#ier & Ier.MODEM && this.#deltas !== 0) return Iir.MODEM;
    return Iir.NONE;
  }

  #trigger(): number {
    return this.#fcr & Fcr.ENABLE ? TRIGGER_LEVELS[this.#fcr >> 6] : 1;
  }

  #capacity(): number {
    return this.#fcr & Fcr.ENABLE ? FIFO_BYTES : 1;
  }

  #drive(): void {
    this.#irq.set(this.#cause() === Iir.NONE ? 0 : 1);
  }

  /** One byte from the line; the newest replaces the last when there is no room. */
  #accept(byte: number): void {
    if (this.#fifo.length >= this.#capacity()) {
      this.#errors |= Lsr.OVERRUN;
      if (!(this.#fcr & Fcr.ENABLE)) this.#fifo[0] = byte;
    } else this.#fifo.push(byte);
    this.#timeout = false;
    this.#armTimeout();
  }

  #armTimeout(): void {
    if (this.#fcr & Fcr.ENABLE) this.#timeoutTimer.arm(this.#clock.nowNs() + 4 * this.#characterNs());
  }

  #receiveTimeout(): void {
    if (this.#fifo.length === 0) return;
    this.#timeout = true;
    this.#drive();
  }

  #scheduleRefill(): void {
    if (this.#queue.length > 0) this.#refillTimer.arm(this.#clock.nowNs() + this.#characterNs());
  }

  #refill(): void {
    // In loopback the input pin is disconnected: the line's bytes wait.
    if (this.#mcr & Mcr.LOOP) return this.#scheduleRefill();
    const room = Math.min(this.#capacity() - this.#fifo.length, this.#queue.length);
    for (const byte of this.#queue.splice(0, Math.max(room, 0))) this.#accept(byte);
    this.#drive();
  }

  #characterNs(): number {
    const bits = 1 + 5 + (this.#lcr & Lcr.WORD) + (this.#lcr & Lcr.PARITY ? 1 : 0) + (this.#lcr & Lcr.STOP ? 2 : 1);
    return ticksToNs(16 * bits * (this.#divisor || 1), UART_HZ);
  }
}

function rearm(timer: Timer, deadlineNs: number | null): void {
  if (deadlineNs === null) timer.cancel();
  else timer.arm(deadlineNs);
}
