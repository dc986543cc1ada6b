import { clauses } from '../../packages/devices/src/virtio/index.js';
import { groups, type Section } from './sections.js';

const NOTICE =
  '<!-- Printed by tools/virtio-reference; change sections.ts there or packages/devices/src/virtio/clauses.ts, then run `pnpm fix:virtio-reference`. -->';

const row = ({ title, rule, test: [file, name], notOffered }: Section): string =>
  `| ${title} | ${rule}${notOffered ? ' (not offered here)' : ''} | \`${file}.test.ts\`: ${name} … |`;

const table = (head: readonly string[], rows: readonly string[]): string[] => [
  `| ${head.join(' | ')} |`,
  `| ${head.map(() => '---').join(' | ')} |`,
  ...rows,
  '',
];

/** docs/reference/virtio.md. */
export function page(): string {
  const count = groups.reduce((sum, { sections }) => sum + sections.length, 0);
  const lines = [
    '# Virtio: clauses and their tests',
    '',
    NOTICE,
    '',
    `What "Virtual I/O Device (VIRTIO)" 1.3 asks of devices: ${count} device-normative sections of what is here, each with a test that drives it through the driver of \`@nestvm/devices/virtio/testing\`.`,
    'Tests are in `packages/devices/test/virtio`; most run over PCI, MMIO and the legacy interface, on split and on packed rings.',
    '',
    ...groups.flatMap(({ title, note, sections }) => [
      `## ${title}`,
      '',
      ...(note ? [note, ''] : []),
      ...table(['Section', 'Rule', 'Test'], sections.map(row)),
    ]),
    '## What the validator names',
    '',
    'A driver that breaks one of these finds NEEDS_RESET set; `VirtioDevice.violation` and `onViolation` say which it was and where. Tests: `rings.test.ts`: names $clause …; the devices’ own for `device-request`.',
    '',
    ...table(
      ['Clause', 'Section', 'Rule'],
      Object.entries(clauses).map(([name, { section, rule }]) => `| \`${name}\` | ${section} | ${rule} |`),
    ),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}
