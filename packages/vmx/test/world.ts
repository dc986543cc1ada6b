import { createArena, PhysicalMemory } from '@nestvm/memory';
import type { VmxCapabilities } from '../src/capabilities/capabilities.js';
import { createCapabilities } from '../src/capabilities/capabilities.js';
import { writeValidVmcs } from '../src/checks/arrange.js';
import { EntryContext } from '../src/checks/context.js';

/** Capabilities with every bit of every table, for the rows whose features no CPU here has. */
export const everything: VmxCapabilities = createCapabilities({
  has: (feature) => !['lam', 'la57', 'rtm', 'sgx', 'bus-lock-detect'].includes(feature),
  physicalBits: 46,
  cr4: -1,
  everything: true,
});

/** 1 MiB of RAM with a valid VMCS at 1000h; arranged controls use the pages above it. */
export function createWorld(capabilities: VmxCapabilities = everything): EntryContext {
  const arena = createArena({ bytes: 2 << 20 });
  const memory = new PhysicalMemory({ arena });
  memory.mapRam(0, 1 << 20, arena.allocate('ram', 1 << 20, 4096));
  const c = new EntryContext(memory, capabilities);
  return resetWorld(c, capabilities);
}

/** Everything as `createWorld` left it, without new memory. */
export function resetWorld(c: EntryContext, capabilities: VmxCapabilities = everything): EntryContext {
  c.i32.fill(0, c.memory.arenaOffsetOf(0) / 4, c.memory.arenaOffsetOf(0) / 4 + (0x2_0000 >> 2));
  Object.assign(c, {
    capabilities,
    vmxOperation: true,
    legalMode: true,
    rootOperation: true,
    cpl: 0,
    movSsBlocking: false,
    inSmm: false,
    tracing: false,
    x2apic: false,
  });
  Object.assign(c, { launchedBeforeVmxoff: false, instruction: 0, vmxonRegion: 0x1_8000, currentVmcs: 0x1000, canWriteMsr: () => true });
  c.base = c.memory.arenaOffsetOf(0x1000) / 4;
  writeValidVmcs(c);
  return c;
}
