// @ts-check
/** Builds the page into dist/: static files that any web server can serve. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

/** @param {{ conditions?: string[], outdir?: string }} [options] `@nestvm/source` takes the packages' sources in place of what was built of them. */
export async function buildPage({ conditions = [], outdir = join(here, 'dist') } = {}) {
  mkdirSync(outdir, { recursive: true });
  await build({
    entryPoints: [join(here, 'src/page.ts'), join(here, 'src/worker.ts')],
    outdir,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    conditions,
    logLevel: 'warning',
  });
  copyFileSync(join(here, 'src/page.html'), join(outdir, 'index.html'));
  const terminalStyle = readFileSync(require.resolve('@xterm/xterm/css/xterm.css'), 'utf8');
  writeFileSync(join(outdir, 'page.css'), `${terminalStyle}\n${readFileSync(join(here, 'src/page.css'), 'utf8')}`);
  return outdir;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildPage();
