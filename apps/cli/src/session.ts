import type { Machine, MachineOutcome } from '@nestvm/machine';
import { Additions } from './additions.js';
import type { ArrivingDisk } from './blocks/arriving-disk.js';
import type { BlockFailure } from './blocks/guarded-disk.js';
import { describeCharacters } from './characters/describe.js';
import type { Characters } from './characters/parts.js';
import type { Ptys } from './characters/ptys.js';
import { UsageError } from './errors.js';
import { lendImages, takeImagesBack } from './host-images.js';
import { Media } from './media.js';
import { takeDisks, takeIn } from './migration/arrival.js';
import { MigrationController } from './migration/controller.js';
import type { SessionControl } from './migration/departure.js';
import { watchBalloon } from './monitor/balloon.js';
import { createConsole, type MonitorConsole, MonitorServers } from './monitor/servers.js';
import type { MonitorTarget, RunState, SessionEvent } from './monitor/target.js';
import type { RunOptions } from './options/config.js';
import type { MonitorSpec } from './options/monitors.js';
import { Plugging } from './plugging.js';
import { qmpPhase } from './qmp/phases.js';
import { Terminal } from './terminal.js';
import type { VirtioParts } from './virtio.js';

/** Status of a process that a signal ends, as shells count. */
const SIGNAL_STATUS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** What of a run may change while it goes on. */
interface SessionParts {
  readonly virtio: VirtioParts;
  /** Made after the session, whose terminal they use. */
  readonly characters: () => Characters;
}

/** One run of a machine with the host's terminal, signals and monitor around it. */
export class Session {
  readonly terminal: Terminal;
  private machine!: Machine;
  private readonly monitor: MonitorConsole;
  /** The monitor has the terminal, for now or (`-monitor stdio`) for good. */
  private inMonitor: boolean;
  /** What is typed before the machine has its state, which a snapshot that is loaded would wipe out. */
  private early: Uint8Array[] | undefined = [];
  private status: number | undefined;
  private tellEnded: () => void = () => {};
  private readonly ended = new Promise<void>((resolve) => {
    this.tellEnded = resolve;
  });
  private stopped = false;
  /** A machine is on its way to this process; `cont` meanwhile is for when it is here. */
  private arrival: { goesOn: boolean } | undefined;
  private handingOver = false;
  private resumed: (() => void) | undefined;
  /** True while vCPUs run; and who waits for them to stop. */
  private active = false;
  private pausers: (() => void)[] = [];
  readonly migration: MigrationController;
  private readonly servers: MonitorServers;
  private readonly listeners = new Set<(event: SessionEvent) => void>();
  /** What `query-status` says while the CPUs stand still. */
  private rest: RunState = 'paused';
  /** Requests to disks that are to be tried again. */
  private readonly retries: (() => void)[] = [];
  /** Ends what `watch` has begun. */
  private unwatch: () => void = () => {};
  /** The next reset was asked for from outside. */
  private resetFromHost = false;
  /** The drives, for monitors. */
  readonly media: Media;
  /** Devices that come and go, and what they are plugged into. */
  private readonly plugging: Plugging;
  private readonly additions: Additions;
  /** Takes what is typed for the guest. */
  onInput: (bytes: Uint8Array) => void = () => {};

  constructor(
    private readonly options: RunOptions,
    private readonly ptys: Ptys,
    { virtio, characters }: SessionParts,
  ) {
    this.plugging = new Plugging(options, virtio, () => this.machine);
    this.plugging.onGone = (device) => this.tell({ event: 'DEVICE_DELETED', data: { device, path: `/machine/peripheral/${device}` } });
    const monitor = options.terminal?.monitor === true;
    this.media = new Media(options);
    const { networks } = virtio;
    this.additions = new Additions({
      networks,
      characters,
      named: options.characters,
      media: this.media,
      objects: options.objects,
      machine: () => this.machine,
    });
    this.media.onTray = (device, open) => this.tell({ event: 'DEVICE_TRAY_MOVED', data: { device, id: device, 'tray-open': open } });
    this.media.onFailure = (failure) => this.diskFailed(failure);
    this.terminal = new Terminal(
      { monitor, escape: options.escape },
      {
        input: (bytes) => this.input(bytes),
        quit: () => this.end(0, 'host-ui'),
        monitor: () => this.toggleMonitor(),
        interrupt: () => this.end(SIGNAL_STATUS.SIGINT, 'host-signal'),
      },
    );
    this.migration = new MigrationController(this.control(), this.additions.credentials);
    const own = options.monitors.find(({ place }) => place.kind === 'stdio');
    const ofKeys: MonitorSpec = { protocol: 'monitor', option: '-serial', place: { kind: 'stdio' } };
    this.inMonitor = own !== undefined;
    const target = this.target();
    this.monitor = createConsole(own ?? ofKeys, target, (text) => this.terminal.print(text));
    this.servers = new MonitorServers(target, ptys);
  }

  /** What monitors may do. */
  private target(): MonitorTarget {
    return {
      name: this.options.name,
      migration: this.migration,
      media: this.media,
      plugging: this.plugging,
      additions: this.additions,
      characters: () => describeCharacters(this.options, (spec) => this.ptys.pathOf(spec)),
      machine: () => this.machine,
      state: () => (this.migration.moved ? 'postmigrate' : this.stopped ? this.rest : 'running'),
      stop: () => this.stop(),
      resume: () => this.goOn(),
      reset: () => {
        this.resetFromHost = true;
        this.machine.requestReset();
      },
      powerButton: () => {
        this.machine.powerButton();
        this.tell({ event: 'POWERDOWN' });
      },
      quit: () => this.end(0, 'host-qmp-quit'),
      listen: (listener) => {
        this.listeners.add(listener);
        return () => void this.listeners.delete(listener);
      },
    };
  }

  private tell(event: SessionEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  /** The host could not do what a guest asks of a disk: `cont` has it tried again where the machine stops for it. */
  private diskFailed({ device, operation, action, noSpace, reason }: BlockFailure): Promise<void> | undefined {
    this.tell({ event: 'BLOCK_IO_ERROR', data: { device, 'node-name': device, operation, action, nospace: noSpace, reason } });
    if (action !== 'stop') return undefined;
    if (!this.stopped) this.say(`${device}: ${operation}: ${reason}; the machine is stopped, 'cont' in the monitor tries again`);
    this.stop('io-error');
    return new Promise((resolve) => this.retries.push(resolve));
  }

  private control(): SessionControl {
    return {
      machine: () => this.machine,
      running: () => !this.stopped,
      arriving: () => this.arrival !== undefined,
      handOver: (underWay) => {
        this.handingOver = underWay;
      },
      hasWritableDisks: () => this.options.drives.some(({ readOnly, snapshot, opened }) => !readOnly && !snapshot && !opened),
      flushDisks: () => this.media.flush(),
      lendDisks: (lent) => this.lendDisks(lent),
      pause: () => this.pause(),
      resume: () => this.resume(),
    };
  }

  private lendDisks(lent: boolean): void {
    if (lent) lendImages();
    else if (!takeImagesBack()) this.say('another process has taken an image of this machine meanwhile; do not let both write it');
  }

  /** Runs to the end; the result is the status for the process. */
  async run(machine: Machine): Promise<number> {
    this.machine = machine;
    const handlers = Object.entries(SIGNAL_STATUS).map(([signal, status]) => [signal, () => this.end(status, 'host-signal')] as const);
    for (const [signal, handler] of handlers) process.on(signal, handler);
    this.watch(machine);
    if (this.options.paused) this.stop('prelaunch');
    if (this.options.terminal || this.inMonitor) this.terminal.open();
    if (this.inMonitor) this.monitor.enter();
    try {
      await this.servers.open(this.options.monitors);
      // Who waits for a machine that never comes can still be ended.
      await Promise.race([this.receiveState(), this.ended]);
      this.deliverEarly();
      return await this.loop();
    } finally {
      this.unwatch();
      this.migration.close();
      await this.servers.close();
      this.terminal.restore();
      for (const [signal, handler] of handlers) process.off(signal, handler);
    }
  }

  /** Tells of what the machine and its migration do by themselves. */
  private watch(machine: Machine): void {
    machine.onRestart = () => {
      const guest = !this.resetFromHost;
      this.resetFromHost = false;
      this.tell({ event: 'RESET', data: { guest, reason: guest ? 'guest-reset' : 'host-qmp-system-reset' } });
    };
    this.unwatch = watchBalloon(machine, (actual) => this.tell({ event: 'BALLOON_CHANGE', data: { actual } }));
    this.migration.onPhase = (phase) => this.tell({ event: 'MIGRATION', data: { status: qmpPhase(phase) } });
    this.migration.onPass = (pass) => this.tell({ event: 'MIGRATION_PASS', data: { pass } });
    this.migration.onNews = (text) => this.say(text);
  }

  private deliverEarly(): void {
    const { early } = this;
    this.early = undefined;
    for (const bytes of early ?? []) this.input(bytes);
  }

  /** `-loadvm` and `-incoming`. */
  private async receiveState(): Promise<void> {
    const { loadSnapshot, incoming } = this.options;
    if (loadSnapshot !== undefined) await this.migration.load(loadSnapshot, '-loadvm');
    if (incoming === undefined) return;
    const { rest } = this;
    this.rest = 'inmigrate';
    const arrival = { goesOn: !this.stopped };
    this.arrival = arrival;
    this.stopped = true;
    const disks = this.arrivingDisks();
    const arrived = await takeIn({ migration: this.migration, uri: incoming, disks, say: (text) => this.say(text) });
    this.arrival = undefined;
    this.rest = rest === 'prelaunch' ? 'paused' : rest;
    if (arrived === 'here') this.stopped = !arrival.goesOn;
  }

  /** Disks whose images another process has until the machine is here. */
  private arrivingDisks(): readonly ArrivingDisk[] {
    // One set for all drives.
    return [...(this.options.drives[0]?.arriving ?? [])];
  }

  /** A line among a guest's output: the terminal may be raw. */
  private say(text: string): void {
    process.stderr.write(`nestvm: ${text}\r\n`);
  }

  private async loop(): Promise<number> {
    for (;;) {
      if (this.stopped) await this.untilResumed();
      if (this.status !== undefined) return this.status;
      takeDisks(this.arrivingDisks());
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
        this.tell({ event: 'SHUTDOWN', data: { guest: true, reason: 'guest-shutdown' } });
        return outcome.status;
      case 'poweroff':
      case 'reset':
      case 'halted':
        this.tell({ event: 'SHUTDOWN', data: { guest: true, reason: outcome.kind === 'reset' ? 'guest-reset' : 'guest-shutdown' } });
        if (this.options.shutdown) return 0;
        this.stop('shutdown');
        return undefined;
      case 'stuck':
        return 0;
      default:
        return undefined;
    }
  }

  /** The monitor has the terminal. */
  get monitorShown(): boolean {
    return this.inMonitor;
  }

  private input(bytes: Uint8Array): void {
    if (this.inMonitor) this.monitor.receive(bytes);
    else if (this.early) this.early.push(bytes.slice());
    else this.onInput(bytes);
  }

  private toggleMonitor(): void {
    this.inMonitor = !this.inMonitor;
    if (this.inMonitor) this.monitor.enter();
    else this.terminal.print('\r\n');
  }

  private stop(state: RunState = 'paused'): void {
    if (this.stopped) return;
    this.stopped = true;
    this.rest = state;
    this.machine.stop();
    if (state !== 'prelaunch') this.tell({ event: 'STOP' });
  }

  /** Stops the vCPUs; resolves when none runs any more. */
  private pause(): Promise<void> {
    this.stop();
    if (!this.active) return Promise.resolve();
    return new Promise((resolve) => this.pausers.push(resolve));
  }

  /** `cont`; throws `UsageError` where the machine is not this process's to run. */
  private goOn(): void {
    // Whoever waits for the answer lets the machine go on, if that is the answer.
    if (!this.stopped || this.migration.decide()) return;
    if (this.arrival) this.arrival.goesOn = true;
    else if (this.handingOver) throw new UsageError('cont: the machine is being handed over; it goes on at the target, or here if that fails');
    else if (this.migration.moved) throw new UsageError('cont: the machine was migrated away and runs at the target; it can never run here again');
    else this.resume();
  }

  private resume(): void {
    if (!this.stopped || this.migration.moved) return;
    this.stopped = false;
    for (const retry of this.retries.splice(0)) retry();
    this.resumed?.();
    this.tell({ event: 'RESUME' });
  }

  private end(status: number, reason: string): void {
    if (this.status === undefined) this.tell({ event: 'SHUTDOWN', data: { guest: false, reason } });
    this.status ??= status;
    this.tellEnded();
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
