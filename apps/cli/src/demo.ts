import { nearestName } from '@nestvm/isa/models';
import { debian } from './demo-debian.js';
import { type DemoName, demos, showDemo } from './demo-levels.js';
import { showSnapshot } from './demo-snapshot.js';
import { UsageError } from './errors.js';

const NAMES = [...Object.keys(demos), 'snapshot', 'debian'];

const isDemo = (name: string): name is DemoName => Object.hasOwn(demos, name);

/** `nestvm demo [vmx|svm|kernel|snapshot|debian]`: without a name, three levels on VMX and on SVM, then snapshots. The result is the status for the process. */
export async function demo(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === 'debian') return debian(rest);
  if (name === 'snapshot') return (await showSnapshot(process.stdout)) ? 0 : 1;
  if (name !== undefined && !isDemo(name)) {
    const near = nearestName(name, NAMES);
    throw new UsageError(`demo ${name}: no such demo; ${near ? `the nearest is '${near}'` : `there are ${NAMES.join(', ')}`}`);
  }
  const chosen: readonly DemoName[] = name === undefined ? ['vmx', 'svm'] : [name];
  process.stdout.write(
    'Nestvm: L1 is a hypervisor; it runs L2, which is one too; L2 runs L3. Everything is in this process: no KVM, no native code.\n',
  );
  let status = 0;
  for (const one of chosen) if (!(await showDemo(one, process.stdout))) status = 1;
  if (name === undefined && !(await showSnapshot(process.stdout))) status = 1;
  if (status === 0 && name === undefined)
    process.stdout.write("\nNext: 'nestvm demo debian' boots a Debian kernel to a shell; 'nestvm help' lists the rest.\n");
  return status;
}
