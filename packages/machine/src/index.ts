/**
 * Composition root: createMachine(config).
 *
 * @packageDocumentation
 */
export { createMachine, Machine } from './machine.js';
export type { AtaConfig, AtaPlace } from './ata.js';
export { boardNames, boardProperties, boards, ramLayout } from './boards.js';
export type { Board, BoardName, BoardPart, RamLayout } from './boards.js';
export type {
  BootConfig,
  ByteSink,
  ClockConfig,
  FlashConfig,
  HostServices,
  ImageConfig,
  MachineConfig,
  MachineOptions,
  MachineOutcome,
  SmbiosFacts,
  VgaConfig,
} from './config.js';
export { createEventLoopHost, createMemoryHost } from './host.js';
export type { EventLoop } from './host.js';
export type { Hotplug } from './hotplug.js';
export type { MachineInspector } from './inspector.js';
export type { ExitCount, LevelCounts } from './levels.js';
export type { DropConfig } from './cache-drops.js';
export type { TlbConfig } from './tlb-debug.js';
export type { MachineTrace } from './trace.js';
export type { VirtioConfig } from './virtio.js';
export { MachineError } from './errors.js';
export type { MachineErrorCode } from './errors.js';
