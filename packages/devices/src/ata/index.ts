/**
 * ATA disks and CD drives, and the controllers that guests without virtio drivers have drivers for: IDE and AHCI.
 *
 * @packageDocumentation
 */
export { IdeController } from './ide.js';
export type { IdeDrives } from './ide.js';
export { AhciController } from './ahci.js';
export { AtaDisk } from './disk.js';
export type { AtaDiskOptions } from './disk.js';
export { CdDrive } from './cd.js';
export type { CdDriveOptions } from './cd.js';
export type { AtaDrive, AtaFailure, AtaTransfer, SavedDrive, TaskFile } from './drive.js';
export type { SavedIde } from './ide-state.js';
export type { SavedAhci } from './ahci-state.js';
