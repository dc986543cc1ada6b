import type { Server } from 'node:net';
import type { Machine, MachineOutcome } from '@nestvm/machine';
import { describe } from './info.js';
import { runMigrationCommand } from './migration/commands.js';
import { explainFailure, MigrationController, type SessionControl } from './migration/controller.js';
import { listen, parseAddress } from './migration/socket.js';
import { Monitor, type MonitorTarget } from './monitor.js';
import type { RunOptions } from './options/config.js';
import { Terminal } from './terminal.js';

/** Status of a process that a signal ends, as shells count. */
const SIGNAL_STATUS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** One run of a machine with the host's terminal, signals and monitor around it. */
export class Session {
  readonly terminal: Terminal;
  private machine!: Machine;
  private readonly monitor: Monitor;
  private inMonitor = false;
  private status: number | undefined;
  private stopped = false;
  private resumed: (() => void) | undefined;
  /** True while vCPUs run; and who waits for them to stop. */
  private active = false;
  private pausers: (() => void)[] = [];
  readonly migration: MigrationController;
  private server: Server | undefined;
  /** Port that the terminal is connected to, or -1. */
  private readonly serialPort: number;

  constructor(private readonly options: RunOptions) {
    this.serialPort = options.serial.findIndex((spec) => spec.kind === 'stdio');
    const spec = options.serial[this.serialPort];
    const monitor = spec?.kind === 'stdio' && spec.monitor;
    this.terminal = new Terminal(
      { monitor, escape: options.escape },
      {
        input: (bytes) => this.input(bytes),
        quit: () => this.end(0),
        monitor: () => this.toggleMonitor(),
        interrupt: () => this.end(SIGNAL_STATUS.SIGINT),
      },
    );
    this.monitor = new Monitor(this.target(), (text) => this.terminal.print(text));
    this.migration = new MigrationController(this.control());
  }

  /** What monitors may do. */
  private target(): MonitorTarget {
    return {
      stop: () => this.stop(),
      resume: () => this.resume(),
      reset: () => this.machine.requestReset(),
      powerButton: () => this.machine.powerButton(),
      quit: () => this.end(0),
      info: (what) => this.info(what),
      migration: (command, args, print) => this.migrationCommand(command, args, print),
    };
  }

  private control(): SessionControl {
    return {
      machine: () => this.machine,
      running: () => !this.stopped,
      pause: () => this.pause(),
      resume: () => this.resume(),
    };
  }

  private info(what: string): string | undefined {
    if (what === 'nested') return this.migration.describeNested();
    if (what === 'migrate') return this.migration.describeMigration();
    return describe(this.machine, what, !this.stopped);
  }

  private async migrationCommand(command: string, args: readonly string[], print: (text: string) => void): Promise<string> {
    try {
      return await runMigrationCommand(this.migration, command, args, print);
    } catch (error) {
      const known = explainFailure(error);
      if (!known) throw error;
      return `${command}: ${known.message}\n`;
    }
  }

  /** Runs to the end; the result is the status for the process. */
  async run(machine: Machine): Promise<number> {
    this.machine = machine;
    const handlers = Object.entries(SIGNAL_STATUS).map(([signal, status]) => [signal, () => this.end(status)] as const);
    for (const [signal, handler] of handlers) process.on(signal, handler);
    if (this.serialPort >= 0) this.terminal.open();
    if (this.options.paused) this.stop();
    try {
      await this.openMonitorSocket();
      await this.receiveState();
      return await this.loop();
    } finally {
      this.server?.close();
      this.terminal.restore();
      for (const [signal, handler] of handlers) process.off(signal, handler);
    }
  }

  /** `-monitor tcp:…` and `unix:…`: a monitor for each connection. */
  private async openMonitorSocket(): Promise<void> {
    const { monitorSocket } = this.options;
    if (monitorSocket === undefined) return;
    this.server = await listen('-monitor', parseAddress('-monitor', monitorSocket), (socket) => {
      const monitor = new Monitor(this.target(), (text) => void socket.write(text));
      socket.on('data', (bytes) => monitor.receive(bytes));
      socket.on('error', () => {});
      monitor.enter();
    });
    this.server.unref();
  }

  /** `-loadvm` and `-incoming`. */
  private async receiveState(): Promise<void> {
    const { loadSnapshot, incoming } = this.options;
    if (loadSnapshot !== undefined) await this.migration.load(loadSnapshot, '-loadvm');
    if (incoming === undefined) return;
    const arrival = await this.migration.receive(incoming);
    void arrival.confirm();
  }

  private async loop(): Promise<number> {
    for (;;) {
      if (this.stopped) await this.untilResumed();
      if (this.status !== undefined) return this.status;
      this.active = true;
      const outcome = await this.machine.run();
      this.active = false;
      for (const told of this.pausers.splice(0)) told();
      if (this.status !== undefined) return this.status;
      const status = this.statusOf(outcome);
      if (status !== undefined) return status;
    }
  }

  /** Status for an outcome, or undefined when the session goes on. */
  private statusOf(outcome: MachineOutcome): number | undefined {
    switch (outcome.kind) {
      case 'exit':
        return outcome.status;
      case 'poweroff':
      case 'reset':
      case 'halted':
        if (this.options.shutdown) return 0;
        this.stop();
        return undefined;
      case 'stuck':
        return 0;
      default:
        return undefined;
    }
  }

  private input(bytes: Uint8Array): void {
    if (this.inMonitor) this.monitor.receive(bytes);
    else this.machine.receiveSerial(this.serialPort, bytes);
  }

  private toggleMonitor(): void {
    this.inMonitor = !this.inMonitor;
    if (this.inMonitor) this.monitor.enter();
    else this.terminal.print('\r\n');
  }

  private stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    this.machine.stop();
  }

  /** Stops the vCPUs; resolves when none runs any more. */
  private pause(): Promise<void> {
    this.stop();
    if (!this.active) return Promise.resolve();
    return new Promise((resolve) => this.pausers.push(resolve));
  }

  private resume(): void {
    if (!this.stopped) return;
    if (this.migration.moved) {
      this.terminal.print('cont: the machine was migrated away and runs at the target; it can never run here again\r\n');
      return;
    }
    this.stopped = false;
    this.resumed?.();
  }

  private end(status: number): void {
    this.status ??= status;
    this.machine?.stop();
    this.resumed?.();
  }

  /** Keeps the process alive while nothing else would: a terminal may be absent. */
  private async untilResumed(): Promise<void> {
    const alive = setInterval(() => {}, 1 << 30);
    await new Promise<void>((resolve) => {
      this.resumed = resolve;
      if (!this.stopped || this.status !== undefined) resolve();
    });
    this.resumed = undefined;
    clearInterval(alive);
  }
}
