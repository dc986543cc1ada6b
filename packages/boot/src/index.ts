/**
 * ELF, bzImage, PVH, multiboot; ACPI tables, e820.
 *
 * @packageDocumentation
 */
export { kernelFormat, loadKernel } from './kernel.js';
export type { KernelFormat, KernelOptions } from './kernel.js';
export { isLinux, loadLinux } from './linux.js';
export type { LinuxOptions } from './linux.js';
export { splitLinux } from './linux-firmware.js';
export type { FirmwareLinux, FirmwareLinuxOptions } from './linux-firmware.js';
export { loadPvh, pvhEntry } from './pvh.js';
export type { PvhOptions } from './pvh.js';
export { findMultiboot, findMultiboot2, loadMultiboot, loadMultiboot2 } from './multiboot.js';
export type { MultibootOptions } from './multiboot.js';
export { loadFlat } from './flat.js';
export type { FlatOptions } from './flat.js';
export { buildE820, E820Type, isRam, topOfLowRam } from './e820.js';
export type { E820Entry, E820Options } from './e820.js';
export { LowMemory } from './plan.js';
export type { BootFile, BootMemory, BootModule, BootPlan, BootWrite, CpuEntry, EntryRegisters, SegmentValue } from './plan.js';
export { realEntry } from './cpu-entry.js';
export { BootError } from './errors.js';
export type { BootErrorCode } from './errors.js';
export { acpiTable, buildAcpi } from './acpi/tables.js';
export type { AcpiPointer, AcpiTables } from './acpi/tables.js';
export { buildAcpiFiles } from './acpi/table-loader.js';
export type { AcpiFiles } from './acpi/table-loader.js';
export type { AcpiConfig, HotplugConfig, PmConfig } from './acpi/config.js';
export { buildSmbios } from './smbios.js';
export type { SmbiosConfig, SmbiosTables, SmbiosTexts } from './smbios.js';
