/** In a browser's Worker: fetches the guest from the server of the page, runs it, and sends the report there. */
import { type GuestOrder, type GuestReport, runGuest } from './guest.js';

const bytesOf = async (path: string): Promise<Uint8Array> => new Uint8Array(await (await fetch(path)).arrayBuffer());

async function main(): Promise<GuestReport> {
  const order = (await (await fetch('/order')).json()) as Pick<GuestOrder, 'commandLine' | 'board' | 'jit'>;
  return runGuest({ ...order, kernel: await bytesOf('/kernel'), initramfs: await bytesOf('/initramfs') });
}

/** What went wrong is a report too: the server has no other way to hear of it. */
const failed = (error: unknown): GuestReport => ({
  boot: null,
  tests: [],
  complete: false,
  tail: error instanceof Error ? `${error.stack}` : String(error),
});

const report = await main().catch(failed);
await fetch('/report', { method: 'POST', body: JSON.stringify(report) });
