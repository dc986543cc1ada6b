import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createMemorySink, saveSnapshot } from '@nestvm/migration';
import { build } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { buildPage } from '../build.mjs';
import { createPageServer } from '../serve.mjs';
import { demos } from '../src/demos.js';
import { countMachine } from './count-machine.js';
import type { moveOverPort } from './moving-page.js';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const browserPath = NAMES.map((name) => spawnSync('which', [name], { encoding: 'utf8' }).stdout?.trim()).find((path) => path);
const QUIET = ['--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const TIMEOUT_MS = 300_000;

/** The machine of the demo `count`, stopped in Node at a line of its guest. */
async function machineAt(line: string) {
  let text = '';
  const print = (character: string): void => {
    text += character;
    if (text.endsWith(`${line}\r\n`) || text.endsWith(`${line}\n`)) machine.stop();
  };
  const machine = countMachine(print, { clock: { kind: 'virtual', shift: 0, sleep: false } });
  await machine.run();
  return machine;
}

describe.skipIf(!browserPath)('the playground in headless Chromium', () => {
  let browser: Browser;
  let server: Server;
  let page: Page;
  let folder: string;
  const text = (selector: string): Promise<string> => page.locator(selector).innerText();
  const consoleHas = (wanted: string) => page.waitForFunction((line) => document.querySelector('.xterm-rows')?.textContent?.includes(line), wanted);

  /** Starts the demo `count`, and pauses it behind a line. On a busy host it may have come to its end by then: it is started again. */
  const pausedAt = async (line: string): Promise<void> => {
    for (let phase = ''; phase !== 'paused'; ) {
      await page.click('#demo-count');
      // The console of the machine before is still there, up to the next frame.
      await page.evaluate(() => new Promise(requestAnimationFrame));
      await consoleHas(line);
      phase = await page.evaluate(async () => {
        document.querySelector<HTMLButtonElement>('#pause')!.click();
        const shown = document.querySelector('#phase')!;
        while (shown.textContent === 'running') await new Promise(requestAnimationFrame);
        return shown.textContent!;
      });
    }
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nestvm-playground-'));
    server = createPageServer(await buildPage({ conditions: ['@nestvm/source'], outdir: join(folder, 'page') }));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    browser = await chromium.launch({ executablePath: browserPath!, args: [...sandbox, ...QUIET], timeout: TIMEOUT_MS });
    page = await browser.newPage({ viewport: { width: 1400, height: 900 }, acceptDownloads: true });
    page.setDefaultTimeout(TIMEOUT_MS);
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  }, TIMEOUT_MS);

  afterAll(async () => {
    await browser?.close();
    server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(['vmx', 'svm'])(
    'runs L1, L2 and L3 on %s and counts exits',
    async (id) => {
      await page.click(`#demo-${id}`);
      await page.waitForFunction(() => document.querySelector('#message')?.textContent?.includes('ended itself with 0'));
      await consoleHas('hello from L3');
      expect(await text('#exits')).toMatch(/CPUID/i);
      expect(await text('#phase')).toBe('off');
    },
    TIMEOUT_MS,
  );

  it(
    'compiles guest code where it is told to, and runs the same levels',
    async () => {
      expect(await text('#figures')).toMatch(/compiled\s+off/);
      await page.selectOption('#jit', 'force');
      await page.click('#demo-svm');
      await page.waitForFunction(() => document.querySelector('#message')?.textContent?.includes('ended itself with 0'));
      await consoleHas('hello from L3');
      await page.waitForFunction(() => /compiled\s*[1-9][0-9,]{3,} instructions/.test(document.querySelector('#figures')?.textContent ?? ''));
      await page.selectOption('#jit', 'off');
    },
    TIMEOUT_MS,
  );

  it(
    'refuses to save while L2 is active, with the reason',
    async () => {
      for (let message = 'Saved'; message.startsWith('Saved'); ) {
        await pausedAt('[L2] counts 1');
        await page.click('#save');
        await page.waitForSelector('#message:not([hidden])');
        message = await text('#message');
        // The pause may have come too late, when the L2 had ended: then only.
        if (message.startsWith('Saved')) await consoleHas('L2 has ended');
        else expect(message).toMatch(/^Not saved: .*L2/);
      }
    },
    TIMEOUT_MS,
  );

  it(
    'loads a snapshot that Node saved, and goes on where it was',
    async () => {
      const machine = await machineAt('[L1] counts 4');
      const sink = createMemorySink();
      await saveSnapshot(machine.migratable, sink);
      const path = join(folder, 'node.nestvm');
      writeFileSync(path, sink.bytes());
      await page.click('#demo-count');
      await page.setInputFiles('#load', path);
      await page.waitForFunction(() => document.querySelector('#message')?.textContent?.startsWith('Ended'));
      await consoleHas('[L1] counts 12');
      const shown = await text('.xterm-rows');
      expect(shown).toContain('[L1] counts 5');
      expect(shown).not.toContain('counts 4');
    },
    TIMEOUT_MS,
  );

  it(
    'saves what Node and the page can load',
    async () => {
      await pausedAt('[L1] counts 2');
      const downloading = page.waitForEvent('download');
      await page.click('#save');
      const path = join(folder, 'page.nestvm');
      await (await downloading).saveAs(path);
      expect(readFileSync(path).length).toBeGreaterThan(1000);
      await page.setInputFiles('#load', path);
      await page.waitForFunction(() => document.querySelector('#message')?.textContent?.startsWith('Ended: the guest ended itself with 0'));
    },
    TIMEOUT_MS,
  );

  it(
    'moves a running machine to another one over a MessagePort',
    async () => {
      const outfile = join(folder, 'moving.js');
      const entry = fileURLToPath(new URL('moving-page.ts', import.meta.url));
      await build({
        entryPoints: [entry],
        outfile,
        bundle: true,
        format: 'iife',
        target: 'es2022',
        conditions: ['@nestvm/source'],
        logLevel: 'warning',
      });
      await page.addScriptTag({ path: outfile });
      const moved = await page.evaluate(
        (line) => (globalThis as unknown as { moveOverPort: typeof moveOverPort }).moveOverPort(line),
        '[L1] counts 3',
      );
      const counts = [...(moved.first + moved.second).matchAll(/\[L1\] counts (\d+)/g)].map(([, count]) => Number(count));
      expect(counts).toEqual(Array.from({ length: counts.length }, (_, i) => i + 1));
      expect(moved.first).toMatch(/counts 3/);
      expect(moved.second).toMatch(/counts 12/);
      expect([moved.outcome, moved.status.phase]).toEqual([JSON.stringify({ kind: 'exit', status: 1 }), 'completed']);
    },
    TIMEOUT_MS,
  );

  describe('with a disk on a web server and a relay', () => {
    const closers: (() => void)[] = [];
    afterAll(() => {
      for (const close of closers) close();
    });

    /** A server of another origin, as one would be; with `ranges`, it says which it was asked for. */
    const serve = async (ranges: string[] | undefined): Promise<string> => {
      const image = new Uint8Array(1_000_000);
      const disks = createServer((request, response) => {
        response.setHeader('access-control-allow-origin', '*');
        const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
        if (first === undefined || ranges === undefined)
          return void response.writeHead(200, { 'content-length': image.length }).end(request.method === 'HEAD' ? undefined : image);
        ranges.push(`${first}-${last}`);
        response.writeHead(206, { 'content-range': `bytes ${first}-${last}/${image.length}` }).end(image.subarray(Number(first), Number(last) + 1));
      });
      await new Promise<void>((resolve) => disks.listen(0, '127.0.0.1', resolve));
      closers.push(() => void disks.close());
      return `http://127.0.0.1:${(disks.address() as AddressInfo).port}/disk.raw`;
    };

    const boot = async (disk: string, relay = ''): Promise<void> => {
      const { kernel } = demos.find(({ id }) => id === 'count')!.order();
      await page.evaluate(() => document.querySelector('#own')!.setAttribute('open', ''));
      await page.setInputFiles('#kernel', { name: kernel.name, mimeType: 'application/octet-stream', buffer: Buffer.from(kernel.bytes) });
      await page.fill('#disk', disk);
      await page.fill('#relay', relay);
      await page.check('#nested');
      await page.click('#boot');
    };

    it(
      'starts a machine that has both',
      async () => {
        const ranges: string[] = [];
        const relay = new WebSocketServer({ host: '127.0.0.1', port: 0 });
        closers.push(() => relay.close());
        const connected = new Promise<void>((resolve) => relay.once('connection', () => resolve()));
        await boot(await serve(ranges), `ws://127.0.0.1:${(relay.address() as AddressInfo).port}/`);
        await consoleHas('[L2] counts 1');
        await connected;
        expect(ranges).toEqual(['0-65535']);
      },
      TIMEOUT_MS,
    );

    it(
      'says why a server will not do',
      async () => {
        await boot(await serve(undefined));
        await page.waitForFunction(() => document.querySelector('#message')?.textContent?.includes('The machine cannot be made'));
        expect(await text('#message')).toMatch(/sends whole files only/);
        await boot('http://127.0.0.1:1/nothing');
        await page.waitForFunction(() => document.querySelector('#message')?.textContent?.includes('check the address'));
      },
      TIMEOUT_MS,
    );
  });
});
