import { cpuModelNames, featureNames, implementedFeatures, parseCpu } from '@nestvm/isa/models';
import { boardNames, boards } from '@nestvm/machine';
import { deviceRows } from './options/devices.js';
import { logItems } from './options/log.js';
import { optionRows } from './options/table.js';

/** `nestvm --help`. */
export const overview = `nestvm: an x86-64 machine in TypeScript

  nestvm run OPTIONS       start a guest; 'nestvm run -help' lists the options
  nestvm demo [NAME]       show nested guests on VMX and SVM, and snapshots; 'demo debian' boots a Debian kernel to a shell
  nestvm relay             a network for guests in web pages, behind a WebSocket; 'relay -help' lists its options
  nestvm models            list CPU models; 'nestvm models MODEL' shows one
  nestvm machines          list boards
  nestvm explain BYTES     what an instruction does, as pseudo-code; -16 and -32 for other modes
  nestvm version           print the version

Examples
  nestvm run -m 512M -kernel vmlinuz -initrd initrd.cpio.gz -append "console=ttyS0" -nographic -no-reboot
  nestvm run -M q35 -cpu Haswell,-avx2 -smp 2 -m 1G -kernel vmlinuz -append "console=ttyS0" -serial file:boot.log
  nestvm run -kernel test.elf -device isa-debug-exit,iobase=0xf4,iosize=0x4 -serial stdio -display none
`;

const wrap = (text: string, indent: number, width = 110): string => {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`);
};

/** `nestvm run -help`. */
export function runHelp(): string {
  const groups = [...new Set(optionRows.map((row) => row.group))];
  const text = groups.map((group) => {
    const rows = optionRows
      .filter((row) => row.group === group)
      .map((row) => {
        const head = `  -${row.name}${row.alias ? `, -${row.alias}` : ''}${row.argument ? ` ${row.argument}` : ''}`;
        return `${head}${head.length > 26 ? `\n${' '.repeat(28)}` : ' '.repeat(28 - head.length)}${wrap(row.help, 28)}`;
      });
    return `${group}\n${rows.join('\n')}`;
  });
  return `nestvm run OPTIONS: start a guest, with the options people know from QEMU\n\n${text.join('\n\n')}\n\nKeys on the terminal (with -nographic, mon:stdio): Ctrl-A x ends, Ctrl-A c is the monitor, Ctrl-A h helps.\nStatus: 0 when the guest powers off, 2 for a wrong command line, 2V+1 from isa-debug-exit.\n`;
}

/** `nestvm machines`, `-M help`. */
export const machinesHelp = (): string =>
  boardNames
    .map(
      (name) =>
        `${name.padEnd(10)}${boards[name].description}${name === 'pc' ? ' (default)' : ''}\n${' '.repeat(10)}switches: ${boards[name].optional.join(', ') || 'none'}`,
    )
    .join('\n') + '\n';

/** `-device help`. */
export const devicesHelp = (): string =>
  Object.entries(deviceRows)
    .map(([name, row]) => `${name.padEnd(16)}${row.help}${row.properties.length > 0 ? ` (${row.properties.join(', ')})` : ''}`)
    .join('\n') + '\n';

/** `-device NAME,help`; undefined when there is no such device. */
export function deviceHelp(name: string): string | undefined {
  const row = Object.hasOwn(deviceRows, name) ? deviceRows[name] : undefined;
  return row && `${name}: ${row.help}\n${row.properties.map((property) => `  ${property}=\n`).join('')}`;
}

/** `-netdev help` and the like: what an option takes; undefined when there is no such option. */
export function optionHelp(name: string): string | undefined {
  const row = optionRows.find((each) => each.name === name || each.alias === name);
  return row?.argument === undefined ? undefined : `-${row.name} ${row.argument}\n    ${wrap(row.help, 4)}\n`;
}

/** `-d help`. */
export const logHelp = (): string =>
  Object.entries(logItems)
    .map(([name, help]) => `${name.padEnd(16)}${help}`)
    .join('\n') + '\n';

/** `nestvm models [MODEL]`, `-cpu help`. */
export function modelsHelp(name?: string): string {
  if (name === '-features')
    return `${wrap(featureNames.map((feature) => (implementedFeatures.has(feature) ? feature : `(${feature})`)).join(' '), 0)}\n\nIn parentheses: known, but Nestvm does not have it.\n`;
  if (name === undefined) {
    const rows = cpuModelNames
      .filter((model) => !/-v\d+$/.test(model))
      .map((model) => `  ${model.padEnd(28)}${model === 'max' || model === 'host' ? 'everything that Nestvm has' : parseCpu(model).modelId}`);
    return `CPU models (each also with its versions, -v1 …); +feature, -feature and feature=on|off may follow:\n${rows.join('\n')}\n\n'nestvm models MODEL' shows one, 'nestvm models -features' all feature names.\n`;
  }
  const cpu = parseCpu(name);
  return `${cpu.name}: ${cpu.modelId}\n  vendor ${cpu.vendorId}, family ${cpu.family}, model ${cpu.model}, stepping ${cpu.stepping}\n  has: ${wrap([...cpu.features].join(' '), 7)}\n${cpu.missing.length > 0 ? `  not in Nestvm: ${wrap(cpu.missing.join(' '), 17)}\n` : ''}`;
}
