/**
 * Device contracts: port I/O and MMIO regions, interrupt lines, MSI, clock, DMA; the router.
 *
 * @packageDocumentation
 */
export type { Clock, Device, GuestMemory, Line, Msi, Region, RegionHandle, Timer, Width, Wiring } from './contracts.js';
export { nsToTicks, type Pace, ticksToNs, VirtualClock } from './clock.js';
export { PortSpace } from './port-space.js';
export { MmioSpace } from './mmio-space.js';
export { BusError } from './errors.js';
export type { BusErrorCode } from './errors.js';
