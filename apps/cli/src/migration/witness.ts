import { readFileSync, readlinkSync } from 'node:fs';
import type { Witness } from '@nestvm/migration';

/** How a process is told from all others: the boot of its system, its PID namespace, its number, and when it began. */
interface Identity {
  readonly boot: string;
  readonly space: string;
  readonly pid: number;
  readonly start: string;
}

/** A process that is being killed takes a moment to be gone. */
const PATIENCE_MS = 2000;
const STEP_MS = 50;

/** State letter and start time of a process (proc(5), /proc/PID/stat); undefined without such a process. */
function statOf(pid: number): { readonly state: string; readonly start: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0]!, start: fields[19]! };
  } catch {
    return undefined;
  }
}

/** Where processes live: numbers of another system or PID namespace mean nothing here. */
function place(): Pick<Identity, 'boot' | 'space'> | undefined {
  try {
    return { boot: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(), space: readlinkSync('/proc/self/ns/pid') };
  } catch {
    return undefined;
  }
}

function isAbsent(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function isDead({ pid, start }: Identity): boolean {
  if (isAbsent(pid)) return true;
  const stat = statOf(pid);
  return stat !== undefined && (stat.state === 'Z' || stat.state === 'X' || stat.start !== start);
}

function parse(text: string): Identity | undefined {
  try {
    const { boot, space, pid, start } = JSON.parse(text) as Partial<Record<keyof Identity, unknown>>;
    if (typeof boot !== 'string' || typeof space !== 'string' || typeof start !== 'string') return undefined;
    return typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 ? { boot, space, pid, start } : undefined;
  } catch {
    return undefined;
  }
}

/** Watches processes of this system: elsewhere, and where there is no /proc, nothing is known. */
export function createProcessWitness(): Witness {
  const here = place();
  const own = here && statOf(process.pid);
  return {
    me: here && own ? JSON.stringify({ ...here, pid: process.pid, start: own.start } satisfies Identity) : '',
    judge: async (text) => {
      const other = parse(text);
      if (!here || !other || other.boot !== here.boot || other.space !== here.space) return 'unknown';
      for (let waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
        if (isDead(other)) return 'dead';
        await new Promise((resolve) => setTimeout(resolve, STEP_MS));
      }
      return 'alive';
    },
  };
}
