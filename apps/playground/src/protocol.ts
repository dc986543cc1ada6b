/** What the page and the Worker in which the machine runs say to each other. */
import type { LevelCounts } from '@nestvm/machine';

/** A machine as the page asks for it. */
export interface MachineOrder {
  readonly board: 'pc' | 'q35' | 'microvm' | 'isapc';
  readonly cpu: string;
  readonly nested: boolean;
  readonly memoryMiB: number;
  readonly kernel: { readonly name: string; readonly bytes: Uint8Array };
  readonly initrd?: { readonly name: string; readonly bytes: Uint8Array };
  readonly commandLine?: string;
  /** Address of a disk image, and of a WebSocket relay: a virtio disk and a virtio network card. */
  readonly disk?: string;
  readonly relay?: string;
  /** Whether hot code is compiled; `force`: all of it, at its first turn. */
  readonly jit?: boolean | 'force';
  /** State to begin with, in place of the kernel's start. */
  readonly snapshot?: Uint8Array;
}

/** From the page. */
export type Request =
  /** A machine in the place of the one before; `run` is a number that it alone has. */
  | { readonly kind: 'start'; readonly run: number; readonly order: MachineOrder }
  | { readonly kind: 'input'; readonly bytes: Uint8Array }
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'save' };

/** How the machine is. */
export type Phase = 'running' | 'paused' | 'ended';

/** What the page shows, ten times a second. */
export interface Status {
  readonly phase: Phase;
  readonly retired: number;
  readonly guestNs: number;
  readonly levels: Pick<LevelCounts, 'entries' | 'failedEntries' | 'exits'>;
  readonly contexts: readonly ContextStatus[];
  /** Of the time since the last status: samples in which a vCPU was in L1, and in L2 or deeper. */
  readonly samples: readonly [root: number, guest: number];
  /** Guest instructions that were compiled; undefined without a JIT. */
  readonly compiled: number | undefined;
}

/** A VMCS or VMCB that was entered. */
export interface ContextStatus {
  readonly kind: 'vmcs' | 'vmcb';
  readonly address: string;
  readonly entries: number;
  /** As the snapshot rule judges it: executing, resident, parked, configured or off. */
  readonly class: string;
}

/** From the Worker: a reply of the machine that was started as `run`. What an earlier one still had to say may come after the order for the next. */
export interface Told {
  readonly run: number;
  readonly reply: Reply;
}

/** What a machine says. */
export type Reply =
  | { readonly kind: 'output'; readonly bytes: Uint8Array }
  | { readonly kind: 'status'; readonly status: Status }
  | { readonly kind: 'ended'; readonly how: string }
  | { readonly kind: 'saved'; readonly bytes: Uint8Array }
  | { readonly kind: 'failed'; readonly what: 'start' | 'save' | 'run'; readonly message: string };
