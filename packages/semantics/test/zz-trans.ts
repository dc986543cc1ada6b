import { readFileSync } from 'node:fs';
import { X87Machine, replay } from './x87-machine.js';
const T = ['F2XM1', 'FYL2X', 'FYL2XP1', 'FPATAN', 'FPTAN', 'FSIN', 'FCOS', 'FSINCOS'];
const lines = readFileSync('/tmp/x87w.txt', 'utf8').trim().split('\n').filter((l) => T.includes(l.split(' ')[0]!));
const m = new X87Machine(T);
const st: Record<string, Record<string, number>> = {}; const ex: Record<string, string[]> = {};
for (const l of lines) { const r = replay(m, l); const s = (st[r.name] ??= {}); const k = (x: string) => s[x] = (s[x] ?? 0) + 1;
  k('total'); if (r.expected.join() === r.actual.join()) { k('same'); continue; }
  let worst = 0n; for (let i = 2; i < 5; i++) { const [a, b] = [r.expected[i]!, r.actual[i]!]; if (a === '-' || b === '-') { if (a !== b) worst = 1n << 100n; continue; } let d = BigInt('0x' + a) - BigInt('0x' + b); if (d < 0n) d = -d; if (d > worst) worst = d; }
  const key = worst <= 1n ? 'ulp1' : 'far'; k(key); if (worst === 0n) k('statusOnly'); if (key === 'far' || (worst === 0n)) (ex[r.name + key] ??= []).push(l + '\n    got ' + r.actual.join(' ')); }
console.log(st); for (const [k, v] of Object.entries(ex)) console.log(k, v.length, '\n', v.slice(0, 3).join('\n '));
