/** A guest that counts on its console, in processes that are looked at and told what to do. */
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { pathFor, type Running } from './spawn.js';

/** Real mode, prints the letters A to Z over and over, a pause of 65536 steps between two. */
export const COUNTER = [
  0xb3,
  0x41, // mov bl, 'A'
  0xba,
  0xf8,
  0x03, // mov dx, 0x3f8
  0x88,
  0xd8, // mov al, bl
  0xee, // out dx, al
  0x31,
  0xc9, // xor cx, cx
  0xe2,
  0xfe, // loop $
  0xfe,
  0xc3, // inc bl
  0x80,
  0xfb,
  0x5b, // cmp bl, 'Z' + 1
  0x75,
  0xef, // jne mov dx
  0xeb,
  0xeb, // jmp mov bl
];

const PROMPT = '(nestvm) ';

/** A monitor on a socket: sends a line, resolves to what is printed up to the next prompt. */
function monitor(path: string): Promise<{ ask: (line: string) => Promise<string>; close: () => void }> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    let told: (() => void) | undefined;
    socket.on('data', (data) => {
      text += String(data);
      told?.();
    });
    socket.on('error', reject);
    const prompt = async (): Promise<string> => {
      // News of a migration may come behind the prompt, in one piece with it: they are the beginning of the next answer.
      while (!text.includes(PROMPT)) {
        await new Promise<void>((resume) => {
          told = resume;
        });
      }
      const end = text.lastIndexOf(PROMPT) + PROMPT.length;
      const answer = text.slice(0, end);
      text = text.slice(end);
      return answer.replaceAll('\r', '');
    };
    const ask = (line: string): Promise<string> => {
      socket.write(`${line}\n`);
      return prompt();
    };
    void prompt().then(() => resolve({ ask, close: () => socket.destroy() }));
  });
}

export const options = (name: string, log: string): string[] => ['-serial', `file:${log}`, '-monitor', `unix:${pathFor(name)}`, '-display', 'none'];

export async function listening(running: Running, name: string): Promise<Awaited<ReturnType<typeof monitor>>> {
  for (;;) {
    const found = await monitor(pathFor(name)).catch(() => undefined);
    if (found) return found;
    await Promise.race([new Promise((resolve) => setTimeout(resolve, 50)), running.ended.then((ended) => Promise.reject(new Error(ended.err)))]);
  }
}

export const until = async (check: () => boolean): Promise<void> => {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 20));
};

/** The letters go on without a gap or a repetition. */
export function isAlphabetical(text: string): boolean {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
  return alphabet.repeat(Math.ceil(text.length / 26) + 1).includes(text);
}

export const sizeOf = (path: string): number => (existsSync(path) ? readFileSync(path).length : 0);
