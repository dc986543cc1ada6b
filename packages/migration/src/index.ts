/**
 * Save, load and live-migrate a machine; refused, with an explanation, while any L2 is active.
 *
 * @packageDocumentation
 */
export { L2ActiveError, MigrationError } from './errors.js';
export type { MigrationErrorCode, Place } from './errors.js';
export { formatContext, isActive, strongestClass } from './nested-activity.js';
export type { NestedActivity, NestedClass, NestedContextReport } from './nested-activity.js';
export type { DirtyTracking, HeldDisk, LiveMachine, MigratableMachine, RamBlock } from './machine-port.js';
export { createMemorySink, createMemorySource } from './channel.js';
export type { ByteSink, ByteSource } from './channel.js';
export { useHostComparison } from './clear-pages.js';
export type { Comparison } from './clear-pages.js';
export { assertMigratable, saveSnapshot } from './save.js';
export type { SaveOptions, SaveProgress } from './save.js';
export { type LoadOptions, loadSnapshot } from './load.js';
export { waitForL2 } from './wait.js';
export type { WaitOptions } from './wait.js';
export type { Link, Witness } from './link.js';
export { createMessageLink, createMessagePortLink, createWebSocketLink } from './message-link.js';
export type { MessageCarrier, MessageLink, MessagePortLike, WebSocketLike } from './message-link.js';
export { migrateOut } from './outgoing.js';
export type { MigrateResult } from './outgoing.js';
export type { MigrateOptions, MigrationClock, MigrationStatus } from './migrate-options.js';
export type { SourceRecovery } from './reclaim.js';
export { migrateIn } from './incoming.js';
export type { Arrival, IncomingOptions } from './incoming.js';
export { rehearse, type RehearsalOptions } from './rehearsal.js';
export type { Custody, TargetRecovery } from './take-over.js';
