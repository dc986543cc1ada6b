import type { EntryCheck, NestedFeature } from '../../packages/cpu/src/index.js';
import * as svm from '../../packages/svm/src/index.js';
import { checkGroups, vmEntryChecks, vmxFeatures, warningIds } from '../../packages/vmx/src/index.js';

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
}

const GENERATED =
  '<!-- Printed by tools/nested-reference; change the tables in packages/vmx and packages/svm, then run `pnpm fix:nested-reference`. -->';

type Row = Pick<EntryCheck<never>, 'id' | 'title' | 'subject' | 'condition' | 'rule' | 'result' | 'status'>;

const checkTable = (rows: readonly Row[]): string =>
  table(
    ['Id', 'What', 'When', 'Rule', 'Otherwise', 'Status'],
    rows.map((row) => [`\`${row.id}\``, row.subject, row.condition, row.rule, row.result, row.status]),
  );

function vmxSections(): string[] {
  return Object.entries(checkGroups).flatMap(([group, { title }]) => {
    const rows = vmEntryChecks.filter((row) => row.group === group);
    return rows.length === 0 ? [] : [`### ${title}\n\n${checkTable(rows)}`];
  });
}

/** docs/reference/vm-entry-checks.md. */
export function vmEntryChecksPage(): string {
  const svmRows: readonly Row[] = svm.vmrunChecks;
  const count = (status: string): number => vmEntryChecks.filter((row) => row.status === status).length;
  return [
    '# VM-entry checks',
    GENERATED,
    `VMLAUNCH and VMRESUME make ${vmEntryChecks.length} checks, VMRUN makes ${svmRows.length}. Hardware reports one number; here \`-d vmx\` and \`-d svm\` print every check that failed (and why other instructions of VMX and SVM were refused), and \`info lint\` of the monitor looks at the VMCS or VMCB at any time.`,
    'Status: *checked* can fail on a CPU model that is here, *when offered* needs a CPU feature that no model here has yet, *not offered* cannot be reached because what it is about is out of scope.',
    `Each row has a mutation that breaks it in a valid structure, and a test generated from it (\`packages/vmx/test/checks.test.ts\`, \`packages/svm/test/checks.test.ts\`).`,
    '## VMX',
    `${count('checked')} rows are checked, ${count('when offered')} when offered, ${count('not offered')} not offered.`,
    ...vmxSections(),
    '### Warnings of the linter that are not checks',
    warningIds.map((id) => `- \`${id}\``).join('\n'),
    '## SVM',
    checkTable(svmRows),
    '',
  ]
    .join('\n\n')
    .trimEnd()
    .concat('\n');
}

const featureSections = (level: string, features: readonly NestedFeature[]): string[] =>
  [...new Set(features.map((feature) => feature.group))].map((group) => {
    const rows = features.filter((feature) => feature.group === group);
    return `${level} ${group}\n\n${table(
      ['Feature', 'Status', 'Test, or why not'],
      rows.map(({ name, status, evidence }) => [name, status, status === 'Y' ? `\`${evidence}\`` : evidence]),
    )}`;
  });

const tally = (features: readonly NestedFeature[]): string =>
  (['Y', 'P', 'N'] as const).map((status) => `${features.filter((feature) => feature.status === status).length} ${status}`).join(', ');

/** The features of SVM, if its package lists them. */
const svmFeatures = (svm as { readonly svmFeatures?: readonly NestedFeature[] }).svmFeatures ?? [];

/** Every feature of both pages. */
export const allFeatures: readonly NestedFeature[] = [...vmxFeatures, ...svmFeatures];

/** docs/reference/nested-features.md. */
export function nestedFeaturesPage(): string {
  return [
    '# Features of nested virtualization',
    GENERATED,
    'Y: works, with the test that shows it. P: works as far as hypervisors show it that run here, without a test of its own. N: not offered (its capability bit is 0), and why.',
    'What a CPU model offers is what its core had and what works here: `-cpu Haswell,vmx=on` offers less than `-cpu SapphireRapids,vmx=on`, and `-cpu host` offers everything.',
    `## VMX\n\n${tally(vmxFeatures)}`,
    ...featureSections('###', vmxFeatures),
    ...(svmFeatures.length === 0 ? [] : [`## SVM\n\n${tally(svmFeatures)}`, ...featureSections('###', svmFeatures)]),
  ]
    .join('\n\n')
    .concat('\n');
}

/** The pages by file, relative to the root of the repository. */
export const pages = { 'docs/reference/vm-entry-checks.md': vmEntryChecksPage, 'docs/reference/nested-features.md': nestedFeaturesPage } as const;
