import { spawn } from 'node:child_process';
import type { TcpEvents, TcpSocket } from '@nestvm/networks';
import { wrapStreams } from './streams.js';

/** A command whose standard input and output are a connection (`guestfwd=…-cmd:`): one process for each. */
export function runCommand(command: string, events: TcpEvents): TcpSocket {
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.on('spawn', () => events.connected());
  // What could not be started is closed at once.
  child.on('error', () => events.closed());
  child.on('close', () => events.closed());
  child.stdout.on('data', (bytes: Buffer) => events.data(bytes));
  return wrapStreams(child.stdout, child.stdin, events, () => child.kill());
}
