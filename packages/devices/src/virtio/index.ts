/**
 * Virtio: rings, transports, devices.
 *
 * @packageDocumentation
 */
export { VirtioFeature, VirtioStatus, VirtioType } from './registers.js';
export { clauses, formatViolation } from './clauses.js';
export type { Clause, ClauseName, Violation } from './clauses.js';
export { Chain } from './ring/chain.js';
export type { Visitor } from './ring/chain.js';
export { SplitRing } from './ring/split-ring.js';
export { PackedRing } from './ring/packed-ring.js';
export type { Ring, RingOptions, RingPosition } from './ring/ring.js';
export { Virtqueue } from './queue.js';
export type { QueueOwner } from './queue.js';
export { type HeldDisk, VirtioDevice } from './device.js';
export type { VirtioCarrier, VirtioIdentity } from './device.js';
export { VirtioPci } from './transports/pci/device.js';
export type { VirtioPciOptions } from './transports/pci/device.js';
export { VirtioMmio } from './transports/mmio/device.js';
export type { VirtioMmioOptions } from './transports/mmio/device.js';
export { VirtioBlock } from './block/device.js';
export type { VirtioBlockOptions } from './block/device.js';
export { MemoryDisk, OverlayDisk } from './block/backend.js';
export type { BlockBackend, Pending } from './block/backend.js';
export { VirtioNetwork } from './net/device.js';
export type { VirtioNetworkOptions } from './net/device.js';
export { NetFeature } from './net/registers.js';
export { BlockFeature } from './block/registers.js';
export type { FrameOffload, GuestOffloads, NetworkBackend } from './net/backend.js';
export { VirtioConsole } from './console/device.js';
export type { ConsolePort, VirtioConsoleOptions } from './console/device.js';
export { VirtioBalloon } from './balloon/device.js';
export type { BalloonStatistics, VirtioBalloonOptions } from './balloon/device.js';
export { VirtioVsock } from './vsock/device.js';
export type { VirtioVsockOptions } from './vsock/device.js';
export type { VsockBackend, VsockConnection, VsockPeer } from './vsock/backend.js';
export { VsockStream, VsockStreams } from './vsock/streams.js';
export { VirtioScsi } from './scsi/device.js';
export type { ScsiPlace, VirtioScsiOptions } from './scsi/device.js';
export type { UnitAddress } from './scsi/lun.js';
export type { ScsiUnit } from '../scsi/unit.js';
export { ScsiDisk } from '../scsi/disk.js';
export type { ScsiDiskOptions } from '../scsi/disk.js';
export { ScsiCd } from '../scsi/cd.js';
export type { ScsiCdOptions } from '../scsi/cd.js';
export type { MmcDrive } from '../scsi/mmc-drive.js';
export type { ScsiAnswer, ScsiCommand } from '../scsi/command.js';
export { VirtioEntropy } from './entropy/device.js';
export type { VirtioEntropyOptions } from './entropy/device.js';
export { VirtioFiles } from './9p/device.js';
export type { FileBackend, FileExchange, VirtioFilesOptions } from './9p/device.js';
export { VirtioGraphics } from './gpu/device.js';
export type { VirtioGraphicsOptions } from './gpu/device.js';
export { VirtioInput } from './input/device.js';
export type { InputEvent, VirtioInputOptions } from './input/device.js';
export type { InputKind } from './input/profiles.js';
export type { ButtonName } from './input/registers.js';
export type { SavedVirtio, SavedVirtioMmio, SavedVirtioPci } from './state.js';
