import { expect, test } from 'vitest';
import { NestedLedger, type NestedVerdict, nestedGuestIsGone } from './ledger.js';
import { inspectNested } from './nested-activity.js';
import type { Virtualization } from './virtualization.js';

const RESIDENT: NestedVerdict = { class: 'resident', why: '', clearsWhen: '' };
const PARKED: NestedVerdict = { class: 'parked', why: '', clearsWhen: '' };

/** A vCPU whose extension gives the same verdict on all that it knows, and notes what it was told of the others. */
class Cpu {
  readonly ledger = new NestedLedger('vmcs');
  verdict: NestedVerdict = RESIDENT;
  enabled = true;
  told: boolean | undefined;

  constructor(readonly index: number) {}

  enter(pa: number, ns: number): void {
    const context = this.ledger.at(pa);
    context.entries++;
    context.lastEntryNs = ns;
  }

  get virtualization(): Virtualization {
    const { ledger, enabled } = this;
    const inspect = (anywhere: boolean) => {
      this.told = anywhere;
      return ledger.report(
        this.index,
        1000,
        () => '',
        () => this.verdict,
      );
    };
    return { ledger, enabled, inspect } as unknown as Virtualization;
  }
}

test('a context that was entered on two vCPUs counts once, as the later one sees it', () => {
  const [a, b] = [new Cpu(0), new Cpu(1)];
  a.enter(0x1000, 10);
  b.enter(0x1000, 20);
  a.verdict = PARKED;
  expect(inspectNested([a, b]).map(({ cpu, class: kind }) => [cpu, kind])).toEqual([[1, 'resident']]);
  b.verdict = nestedGuestIsGone('');
  expect(inspectNested([a, b]).map(({ class: kind }) => kind)).toEqual(['configured']);
  a.enter(0x1000, 30);
  expect(inspectNested([b, a]).map(({ cpu, class: kind, entries }) => [cpu, kind, entries])).toEqual([[0, 'parked', 3]]);
});

test('an extension that is off here may be on elsewhere', () => {
  const [a, b] = [new Cpu(0), new Cpu(1)];
  a.enabled = false;
  inspectNested([a, b]);
  expect([a.told, b.told]).toEqual([true, true]);
  b.enabled = false;
  inspectNested([a, b, { virtualization: null }]);
  expect([a.told, b.told]).toEqual([false, false]);
});

test('an L2 that was seen to be gone stays so until it is entered again', () => {
  const cpu = new Cpu(0);
  let appearances = 0;
  cpu.ledger.onAppearance = () => appearances++;
  cpu.enter(0x1000, 10);
  cpu.enter(0x1000, 20);
  cpu.verdict = nestedGuestIsGone('its root is empty');
  expect(inspectNested([cpu])[0]!.class).toBe('configured');
  cpu.verdict = RESIDENT;
  expect(inspectNested([cpu])[0]!.why).toBe('its root is empty');
  cpu.enter(0x1000, 30);
  expect([inspectNested([cpu])[0]!.class, appearances, cpu.ledger.list().length]).toEqual(['resident', 2, 1]);
});
