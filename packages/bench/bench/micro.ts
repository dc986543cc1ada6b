/** The packages' own benchmarks. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Output of one benchmark of a package: a script that prints, or a file of vitest's. */
function runMicro(root: string, file: string): string {
  const isVitest = readFileSync(join(root, file), 'utf8').includes("from 'vitest'");
  const [tool, ...words] = isVitest ? ['vitest', 'bench', '--run', file] : ['tsx', '--conditions=@nestvm/source', file];
  const env = { ...process.env, NO_COLOR: '1', CI: '1' };
  const { stdout, stderr, status } = spawnSync(join(root, 'node_modules/.bin', tool), words, { cwd: root, encoding: 'utf8', timeout: 180_000, env });
  if (status !== 0) return `failed${status === null ? ' (180 s were not enough)' : ''}:\n${stderr.trim()}`;
  // Neither paths of this machine nor its name belong in a document.
  return stdout.trim().replaceAll(root, '').replaceAll(root.replace(/\/$/, ''), '.');
}

/** Every `packages/X/bench/*.bench.ts`. */
export function microBenchmarks(root: string): string {
  const files = readdirSync(join(root, 'packages')).flatMap((name) => {
    const folder = join(root, 'packages', name, 'bench');
    return existsSync(folder)
      ? readdirSync(folder)
          .filter((file) => file.endsWith('.bench.ts'))
          .map((file) => join(folder, file))
      : [];
  });
  return files
    .map((file) => {
      const name = file.slice(root.length);
      console.error(name);
      return `### ${name}\n\n\`\`\`\n${runMicro(root, name)}\n\`\`\`\n`;
    })
    .join('\n');
}
