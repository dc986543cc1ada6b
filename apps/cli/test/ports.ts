import { createServer } from 'node:net';

/**
 * Ports outside of those that systems hand out to whoever asks for any (Linux: from 32768 on): what was free when we looked is free when it is used, and a
 * connection to one on which nobody listens cannot meet itself. Each thread of the tests has its own.
 */
const FIRST = 20_000;
const THREADS = 10;
const PER_PROCESS = 500;
const PROCESSES = 20;

const lane = FIRST + (process.pid % PROCESSES) * PER_PROCESS + (Number(process.env['VITEST_POOL_ID'] ?? 0) % THREADS);
let asked = 0;

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });

/** A port on which nobody listens. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = lane + ((asked++ * THREADS) % PER_PROCESS);
    if (await isFree(port)) return port;
  }
}
