import type { Device, Line, Wiring } from '@nestvm/bus';
import type { SavableDevice } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';
import { Ps2Keyboard } from './keyboard.js';
import { Ps2Mouse } from './mouse.js';
import { I8042Port, KbcCommand, KbcMode, KbcStatus, OutputPort } from './registers.js';
import { translateByte } from './scan-codes.js';
import { i8042Schema, type SavedI8042 } from './state.js';

/**
 * The 8042 keyboard controller with a PS/2 keyboard (`isa:1`) and mouse (`isa:12`), the lines `reset` (pulsed) and `a20`
 * ("IBM PC/AT Technical Reference"). Bytes move without delay: reading port 0x60 lets the next one in.
 */
export class I8042 implements Device, SavableDevice<SavedI8042> {
  readonly name = 'i8042';
  /** Input from the host. */
  readonly keyboard = new Ps2Keyboard(() => this.#fill());
  /** Input from the host. */
  readonly mouse = new Ps2Mouse(() => this.#fill());
  #mode: number = KbcMode.KEYBOARD_IRQ | KbcMode.SYSTEM | KbcMode.TRANSLATE | KbcMode.DISABLE_AUX;
  #ram = new Uint8Array(32);
  #system = true;
  #lastWasCommand = false;
  /** The command that waits for its data byte, or 0. */
  #command = 0;
  #full = false;
  #aux = false;
  #data = 0;
  #a20 = true;
  #breakSeen = false;
  #replies: number[] = [];
  #keyboardIrq!: Line;
  #mouseIrq!: Line;
  #a20Line!: Line;
  #resetLine!: Line;

  attach(wiring: Wiring): void {
    this.#keyboardIrq = wiring.line('isa:1');
    this.#mouseIrq = wiring.line('isa:12');
    this.#a20Line = wiring.line('a20');
    this.#resetLine = wiring.line('reset');
    wiring.pio(
      byteRegion(
        'i8042-data',
        I8042Port.DATA,
        1,
        () => this.#readData(),
        (_offset, value) => this.#writeData(value),
      ),
    );
    wiring.pio(
      byteRegion(
        'i8042-command',
        I8042Port.COMMAND,
        1,
        () => this.#status(),
        (_offset, value) => this.#writeCommand(value),
      ),
    );
  }

  /** As firmware leaves it: translation and the keyboard's interrupt on, A20 open. */
  reset(): void {
    this.#mode = KbcMode.KEYBOARD_IRQ | KbcMode.SYSTEM | KbcMode.TRANSLATE | KbcMode.DISABLE_AUX;
    this.#ram.fill(0);
    this.#system = true;
    this.#lastWasCommand = this.#full = this.#aux = this.#breakSeen = false;
    this.#command = this.#data = 0;
    this.#replies = [];
    this.keyboard.reset();
    this.mouse.reset();
    this.#setA20(true);
    this.#drive();
  }

  save(): SavedI8042 {
    return {
      mode: this.#mode,
      ram: [...this.#ram],
      system: this.#system,
      lastWasCommand: this.#lastWasCommand,
      command: this.#command,
      full: this.#full,
      aux: this.#aux,
      data: this.#data,
      a20: this.#a20,
      breakSeen: this.#breakSeen,
      replies: [...this.#replies],
      keyboard: this.keyboard.save(),
      mouse: this.mouse.save(),
    };
  }

  load(saved: unknown): void {
    const state = i8042Schema.check(saved, this.name);
    this.#mode = state.mode;
    this.#ram.set(state.ram);
    this.#system = state.system;
    this.#lastWasCommand = state.lastWasCommand;
    this.#command = state.command;
    this.#full = state.full;
    this.#aux = state.aux;
    this.#data = state.data;
    this.#breakSeen = state.breakSeen;
    this.#replies = state.replies;
    this.keyboard.load(state.keyboard);
    this.mouse.load(state.mouse);
    this.#setA20(state.a20);
    this.#drive();
  }

  #status(): number {
    return (
      KbcStatus.UNLOCKED |
      (this.#full ? KbcStatus.OUTPUT_FULL : 0) |
      (this.#full && this.#aux ? KbcStatus.AUX_FULL : 0) |
      (this.#system ? KbcStatus.SYSTEM : 0) |
      (this.#lastWasCommand ? KbcStatus.COMMAND : 0)
    );
  }

  #readData(): number {
    const data = this.#data;
    if (this.#full) {
      this.#full = false;
      this.#drive();
      this.#fill();
    }
    return data;
  }

  /** Lets the next byte into the output buffer when it is free: the controller's own first, then keyboard, then mouse. */
  #fill(): void {
    while (!this.#full) {
      const reply = this.#replies.shift();
      if (reply !== undefined) this.#put(reply, false);
      else if (!this.#fillFromKeyboard() && !this.#fillFromMouse()) return;
    }
  }

  #fillFromKeyboard(): boolean {
    if (this.#mode & KbcMode.DISABLE_KEYBOARD) return false;
    const byte = this.keyboard.take();
    if (byte < 0) return false;
    if (!(this.#mode & KbcMode.TRANSLATE)) this.#put(byte, false);
    else if (byte === 0xf0) this.#breakSeen = true;
    else {
      this.#put(translateByte(byte) | (this.#breakSeen ? 0x80 : 0), false);
      this.#breakSeen = false;
    }
    return true;
  }

  #fillFromMouse(): boolean {
    if (this.#mode & KbcMode.DISABLE_AUX) return false;
    const byte = this.mouse.take();
    if (byte < 0) return false;
    this.#put(byte, true);
    return true;
  }

  #put(byte: number, aux: boolean): void {
    // A byte that replaces an unread one is a new edge.
    if (this.#full) {
      this.#full = false;
      this.#drive();
    }
    this.#data = byte;
    this.#aux = aux;
    this.#full = true;
    this.#drive();
  }

  #drive(): void {
    this.#keyboardIrq.set(this.#full && !this.#aux && this.#mode & KbcMode.KEYBOARD_IRQ ? 1 : 0);
    this.#mouseIrq.set(this.#full && this.#aux && this.#mode & KbcMode.AUX_IRQ ? 1 : 0);
  }

  #reply(byte: number): void {
    if (this.#replies.length < 64) this.#replies.push(byte);
    this.#fill();
  }

  #setMode(mode: number): void {
    this.#mode = mode;
    this.#system = (mode & KbcMode.SYSTEM) !== 0;
    this.#drive();
    this.#fill();
  }

  #writeCommand(value: number): void {
    this.#lastWasCommand = true;
    this.#command = 0;
    if (value >= KbcCommand.PULSE) return this.#pulse(value & 0x0f);
    if (value >= KbcCommand.READ_RAM && value < KbcCommand.READ_RAM + 32)
      return this.#reply(value === KbcCommand.READ_RAM ? this.#mode : this.#ram[value & 31]);
    if (value >= KbcCommand.WRITE_RAM && value < KbcCommand.WRITE_RAM + 32) {
      this.#command = value;
      return;
    }
    this.#execute(value);
  }

  #execute(command: number): void {
    switch (command) {
      case KbcCommand.DISABLE_AUX:
        return this.#setMode(this.#mode | KbcMode.DISABLE_AUX);
      case KbcCommand.ENABLE_AUX:
        return this.#setMode(this.#mode & ~KbcMode.DISABLE_AUX);
      case KbcCommand.DISABLE_KEYBOARD:
        return this.#setMode(this.#mode | KbcMode.DISABLE_KEYBOARD);
      case KbcCommand.ENABLE_KEYBOARD:
        return this.#setMode(this.#mode & ~KbcMode.DISABLE_KEYBOARD);
      case KbcCommand.SELF_TEST:
        this.#system = true;
        return this.#reply(0x55);
      case KbcCommand.TEST_AUX:
      case KbcCommand.TEST_KEYBOARD:
      case KbcCommand.READ_TEST_INPUTS:
        return this.#reply(0);
      case KbcCommand.TEST_PASSWORD:
        return this.#reply(0xf1);
      case KbcCommand.READ_INPUT_PORT:
        return this.#reply(0x80);
      case KbcCommand.READ_OUTPUT_PORT:
        return this.#reply(this.#outputPort());
      case KbcCommand.DISABLE_A20:
      case KbcCommand.ENABLE_A20:
        return this.#setA20(command === KbcCommand.ENABLE_A20);
      case KbcCommand.WRITE_OUTPUT_PORT:
      case KbcCommand.WRITE_KEYBOARD_BUFFER:
      case KbcCommand.WRITE_AUX_BUFFER:
      case KbcCommand.WRITE_AUX:
        this.#command = command;
    }
  }

  #writeData(value: number): void {
    const command = this.#command;
    this.#command = 0;
    this.#lastWasCommand = false;
    switch (command) {
      case 0:
        this.#mode &= ~KbcMode.DISABLE_KEYBOARD;
        return this.keyboard.write(value);
      case KbcCommand.WRITE_RAM:
        return this.#setMode(value);
      case KbcCommand.WRITE_OUTPUT_PORT:
        if (!(value & OutputPort.NOT_RESET)) this.#pulse(0x0e);
        return this.#setA20((value & OutputPort.A20) !== 0);
      case KbcCommand.WRITE_KEYBOARD_BUFFER:
        return this.#put(value, false);
      case KbcCommand.WRITE_AUX_BUFFER:
        return this.#put(value, true);
      case KbcCommand.WRITE_AUX:
        this.#mode &= ~KbcMode.DISABLE_AUX;
        return this.mouse.write(value);
      default:
        this.#ram[command & 31] = value;
    }
  }

  #outputPort(): number {
    const { NOT_RESET, A20, KEYBOARD_FULL, AUX_FULL } = OutputPort;
    return 0xc0 | NOT_RESET | (this.#a20 ? A20 : 0) | (this.#full ? (this.#aux ? AUX_FULL : KEYBOARD_FULL) : 0);
  }

  /** Pulses the output lines whose bit is 0; bit 0 is the system's reset. */
  #pulse(bits: number): void {
    if (bits & OutputPort.NOT_RESET) return;
    this.#resetLine.set(1);
    this.#resetLine.set(0);
  }

  #setA20(open: boolean): void {
    this.#a20 = open;
    this.#a20Line.set(open ? 1 : 0);
  }
}
