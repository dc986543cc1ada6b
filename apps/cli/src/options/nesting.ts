import { type Nesting, nearestName } from '@nestvm/isa/models';
import { UsageError } from '../errors.js';

type Vendor = keyof Nesting;
const MODULES: Readonly<Record<string, Vendor>> = { kvm_intel: 'intel', kvm_amd: 'amd' };

/** Parameters of these modules that people set; without effect here, so that they get a warning. */
const OTHER_PARAMETERS = [
  'ept',
  'vpid',
  'unrestricted_guest',
  'npt',
  'avic',
  'vgif',
  'vls',
  'sev',
  'sev_es',
  'ept_ad',
  'flexpriority',
  'enable_apicv',
  'pml',
  'preemption_timer',
];

/** What the lines of a modprobe file say about nesting. */
interface ModprobeSettings {
  readonly nested: Partial<Record<Vendor, boolean>>;
  readonly warnings: readonly string[];
}

/** Reads modprobe.d's `options kvm-intel nested=Y` and `options kvm_amd nested=1`; other lines are left to other programs. Throws `UsageError`. */
function parseModprobe(path: string, text: string): ModprobeSettings {
  const nested: Partial<Record<Vendor, boolean>> = {};
  const warnings: string[] = [];
  // A backslash at the end joins lines, as in modprobe.d(5); joined lines keep their number by an empty one.
  const lines = text.replace(/\\\r?\n/g, (joint) => ' '.repeat(joint.length)).split(/\r?\n/);
  lines.forEach((line, i) => {
    const [command, module = '', ...parameters] = line.trim().split(/\s+/);
    const vendor = Object.hasOwn(MODULES, module.replaceAll('-', '_')) ? MODULES[module.replaceAll('-', '_')] : undefined;
    if (command !== 'options' || vendor === undefined) return;
    const where = `--modprobe ${path}:${i + 1}`;
    for (const parameter of parameters) {
      const [rawName = '', value] = parameter.split('=');
      const name = rawName.replaceAll('-', '_');
      if (name === 'nested') nested[vendor] = parseBool(where, value);
      else if (OTHER_PARAMETERS.includes(name))
        warnings.push(`${where}: ${name} has no effect; Nestvm is the hardware, so give it to the guest's own module`);
      else {
        const near = nearestName(name, ['nested', ...OTHER_PARAMETERS]);
        throw new UsageError(`${where}: ${module} has no parameter '${rawName}'; ${near ? `the nearest is '${near}'` : 'write nested=Y'}`);
      }
    }
  });
  return { nested, warnings };
}

/** The kernel's Boolean parameters: y, Y, 1, n, N, 0, on, off; the bare name means yes. */
function parseBool(where: string, value: string | undefined): boolean {
  if (value === undefined || /^([yY1]|on)/.test(value)) return true;
  if (/^([nN0]|off)/.test(value)) return false;
  throw new UsageError(`${where}: nested=${value} is neither yes nor no; write nested=Y or nested=N`);
}

/** Nesting as `--nested` and the `--modprobe` files say; later files win over earlier ones, `--nested` over all. */
export function parseNesting(all: boolean, files: readonly { readonly path: string; readonly text: string }[], warnings: string[]): Nesting {
  const nesting = { intel: all, amd: all };
  for (const { path, text } of files) {
    const settings = parseModprobe(path, text);
    warnings.push(...settings.warnings);
    if (!all) Object.assign(nesting, settings.nested);
  }
  return nesting;
}
