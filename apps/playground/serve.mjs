// @ts-check
/** `pnpm playground [PORT]`: builds the page from the sources and serves it on the loopback interface. */
import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPage } from './build.mjs';

/** @type {Record<string, string>} */
const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' };
/** A page may share memory between threads only when it is isolated from other pages. */
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

/** Serves a folder. @param {string} folder */
export const createPageServer = (folder) =>
  createServer((request, response) => {
    const path = normalize(new URL(request.url ?? '/', 'http://localhost').pathname).replace(/\/$/, '/index.html');
    const file = join(folder, path);
    if (!file.startsWith(folder) || !existsSync(file)) {
      response.writeHead(404, ISOLATION).end('not found');
      return;
    }
    response.writeHead(200, { ...ISOLATION, 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.argv[2] ?? 8086);
  const server = createPageServer(await buildPage({ conditions: ['@nestvm/source'] }));
  server.on('error', (error) => {
    console.error(`playground: cannot listen on port ${port} (${error.message}); give another one: pnpm playground 8087`);
    process.exitCode = 2;
  });
  server.listen(port, '127.0.0.1', () => console.log(`The playground is at http://127.0.0.1:${port}/ (Ctrl-C ends it).`));
}
