import { spawn } from 'node:child_process';
import type { TcpEvents, TcpSocket } from '@nestvm/networks';

/** A command whose standard input and output are a connection (`guestfwd=…-cmd:`): one process for each. */
export function runCommand(command: string, events: TcpEvents): TcpSocket {
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] });
  const { stdin, stdout } = child;
  child.on('spawn', () => events.connected());
  // What could not be started is closed at once.
  child.on('error', () => events.closed());
  stdin.on('error', () => {});
  stdin.on('drain', () => events.drained());
  stdout.on('data', (bytes: Buffer) => events.data(bytes));
  stdout.on('end', () => events.ended());
  child.on('close', () => events.closed());
  return {
    write: (bytes) => void (stdin.writable && stdin.write(bytes)),
    get waitingBytes() {
      return stdin.writableLength;
    },
    end: () => void stdin.end(),
    destroy: () => void child.kill(),
    pause: () => void stdout.pause(),
    resume: () => void stdout.resume(),
  };
}
