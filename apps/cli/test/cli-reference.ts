/**
 * Makes `docs/reference/cli.md` from the tables of the command line: run it after changing one (`pnpm fix:cli-reference`).
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { boardNames, boards } from '@nestvm/machine';
import { monitorCommands } from '../src/monitor/commands.js';
import { infoRows } from '../src/monitor/info.js';
import { deviceRows } from '../src/options/devices.js';
import { logItems } from '../src/options/log.js';
import { optionRows } from '../src/options/table.js';
import { parametersOf, qmpCommands } from '../src/qmp/commands.js';
import { QMP_EVENTS } from '../src/qmp/events.js';

/** Where the page is. */
export const cliReferenceFile = fileURLToPath(new URL('../../../docs/reference/cli.md', import.meta.url));

const cell = (text: string): string => text.replaceAll('|', '\\|');
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
const code = (text: string): string => `\`${text}\``;

const optionTable = (group: string): string =>
  table(
    ['Option', 'Argument', 'Meaning'],
    optionRows
      .filter((row) => row.group === group)
      .map(({ name, alias, argument, repeat, help }) => [
        `${code(`-${name}`)}${alias ? `, ${code(`-${alias}`)}` : ''}`,
        argument ? `${code(argument)}${repeat ? ', may be repeated' : ''}` : '',
        help,
      ]),
  );

const STATUSES: readonly (readonly [string, string])[] = [
  ['0', 'the guest powered off, rebooted under `-no-reboot` or halted for good; Ctrl-A x; `quit` in the monitor'],
  ['2', 'the command line cannot be followed: one line on standard error says what, where, and what to do'],
  ['1', 'what `-loadvm` names is no snapshot of this machine, or a machine that was to arrive (`-incoming`) did not'],
  ['2V+1', 'the guest wrote V to `isa-debug-exit`'],
  ['70', 'a fault in Nestvm itself'],
  ['129, 130, 143', 'SIGHUP, SIGINT or SIGTERM'],
];

const KEYS: readonly (readonly [string, string])[] = [
  ['Ctrl-A x', 'end Nestvm'],
  ['Ctrl-A c', 'switch between console and monitor'],
  ['Ctrl-A h', 'list these keys'],
  ['Ctrl-A Ctrl-A', 'send Ctrl-A to the guest'],
];

/** The page. */
export function cliReference(): string {
  const groups = [...new Set(optionRows.map((row) => row.group))];
  return `<!-- Generated from the tables in apps/cli/src by apps/cli/test/cli-reference.ts; run 'pnpm fix:cli-reference' after changing them. -->

# Command line

\`nestvm run OPTIONS\` starts a guest; \`nestvm demo\` starts one of its own; \`nestvm models\` and \`nestvm machines\` list what \`-cpu\` and \`-M\` take.
Options have QEMU's names and may begin with one dash or two. When an option is given twice, the last one counts, unless it may be repeated.

${groups.map((group) => `## ${group}\n\n${optionTable(group)}`).join('\n\n')}

## Boards (\`-M\`)

${table(
  ['Board', 'What it is', 'Switches'],
  boardNames.map((name) => [code(name), boards[name].description, boards[name].optional.map((part) => code(`${part}=on|off`)).join(' ')]),
)}

## Devices (\`-device\`)

${table(
  ['Device', 'What it is', 'Properties'],
  Object.entries(deviceRows).map(([name, { help, properties }]) => [code(name), help, properties.map(code).join(' ')]),
)}

## Log items (\`-d\`)

${table(
  ['Item', 'What is logged'],
  Object.entries(logItems).map(([name, help]) => [code(name), help]),
)}

## Keys (\`-nographic\`, \`-serial mon:stdio\`)

${table(['Keys', 'Meaning'], KEYS)}

On \`-serial stdio\` there are no such keys, and Ctrl-C ends Nestvm.

## Monitor

${table(
  ['Command', 'Meaning'],
  [
    ...Object.entries(monitorCommands).map(([name, { help }]) => [code(name), help]),
    ...Object.entries(infoRows).map(([name, { help }]) => [code(`info ${name}`), help]),
  ],
)}

Expressions know \`+ - * / % & | ^ << >> ~\`, parentheses and registers (\`$rip\`, \`$rsp\`, \`$cr3\`). Only RAM and ROM are read: a device would notice.

## QMP (\`-qmp\`, \`-mon mode=control\`)

The protocol of QEMU 7.2, without out-of-band commands. While an L2 is active, \`migrate\`, \`x-savevm\` and \`x-loadvm\` fail with the class \`L2Active\` and with
\`data.contexts\`: each VMCS or VMCB with its class, why it counts and what clears it. \`query-qmp-schema\` has the commands with the
types of their arguments; of results it says \`any\`. Events: ${QMP_EVENTS.join(', ')}.

${table(
  ['Command', 'Arguments'],
  Object.entries(qmpCommands).map(([name, row]) => [code(name), parametersOf(row).map(code).join(' ')]),
)}

## Exit status

${table(['Status', 'When'], STATUSES)}
`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) writeFileSync(cliReferenceFile, cliReference());
