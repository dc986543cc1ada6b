import type { MigrationStatus } from '@nestvm/migration';

const PHASES: Readonly<Record<MigrationStatus['phase'], string>> = {
  setup: 'setup',
  'pre-copy': 'active',
  'hand-over': 'device',
  // The machine stands still until the target has answered.
  waiting: 'device',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
};

/** QEMU's name of a phase of migration. */
export const qmpPhase = (phase: MigrationStatus['phase']): string => PHASES[phase];
