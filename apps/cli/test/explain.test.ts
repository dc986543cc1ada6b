import { describe, expect, it } from 'vitest';
import { UsageError } from '../src/errors.js';
import { explainBytes } from '../src/explain.js';

describe('nestvm explain', () => {
  it('shows both syntaxes and the meaning', () => {
    const text = explainBytes(['48', '01', 'd8']);
    expect(text).toMatch(/^48 01 d8 +add rax, rbx +add %rbx, %rax\n/);
    expect(text).toMatch(/RBX ← /);
    expect(text.split('\n').length).toBeGreaterThan(3);
    expect(explainBytes(['-16', '01d8'])).toMatch(/add ax, bx/);
    expect(explainBytes(['-32', '0x01,0xd8'])).toMatch(/add eax, ebx/);
  });

  it('takes several instructions, and says where those without pseudo-code are', () => {
    const text = explainBytes(['50 0f a2']);
    expect(text).toMatch(/push rax/);
    expect(text).toMatch(/cpuid[^]*carried out in TypeScript/);
  });

  it.each([
    [['zz'], /are no bytes/],
    [[], /are no bytes/],
    [['48'], /needs more bytes/],
    [['06'], /#UD/],
    [['66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90'], /longer than 15/],
  ])('%s', (args, message) => {
    expect(() => explainBytes(args)).toThrow(UsageError);
    expect(() => explainBytes(args)).toThrow(message);
  });
});
