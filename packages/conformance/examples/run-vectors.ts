import { readFile } from 'node:fs/promises';
import { createInterpreterExecutor, testExecutor } from '@nestvm/conformance';

const file = await readFile(new URL('../../../vectors/amd-25-17/bits-64.vec.gz', import.meta.url));
const executor = createInterpreterExecutor({ cpu: 'EPYC-Genoa' });
const report = await testExecutor(executor, [file], { select: (form) => form.startsWith('ANDN') });
console.log(report.passed, report.failed);
for (const { form, differences } of report.failures) console.log(form, differences);
