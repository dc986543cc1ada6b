import { VirtioBalloon } from '@nestvm/devices/virtio';
import type { Machine } from '@nestvm/machine';
import { expect, test, vi } from 'vitest';
import { hintFreePages } from '../src/monitor/balloon.js';

const MEBIBYTE = 2 ** 20;

/** A balloon whose guest names so many MiB a millisecond, from a time on, until it has named all. */
class Naming extends VirtioBalloon {
  asked = 0;
  ended = 0;
  named = 0;
  private readonly startBytes = this.clearedBytes;

  constructor(
    private readonly guest: { readonly fromMs: number; readonly mebibytesPerMs: number; readonly all: number },
    private readonly nowMs: () => number,
  ) {
    super();
  }

  override startHinting(): boolean {
    this.asked++;
    return true;
  }

  override get hinted(): boolean {
    const { fromMs, mebibytesPerMs, all } = this.guest;
    this.named = Math.min(all, Math.max(0, this.nowMs() - fromMs) * mebibytesPerMs);
    this.clearedBytes = this.startBytes + this.named * MEBIBYTE;
    return this.named === all;
  }

  override endHinting(): void {
    this.ended++;
  }
}

/** How long is waited for such a guest, by a clock that stands still but for sleeping. */
async function wait(
  guest: { fromMs: number; mebibytesPerMs: number; all: number },
  lineBytesPerMs?: number,
): Promise<[waitedMs: number, named: number]> {
  let nowMs = 1000;
  const sleep = (ms: number): Promise<void> => {
    nowMs += ms;
    return Promise.resolve();
  };
  const balloon = new Naming({ ...guest, fromMs: 1000 + guest.fromMs }, () => nowMs);
  const platform = { virtio: [{ device: balloon }] } as unknown as Machine['platform'];
  const end = await hintFreePages({ platform }, { sleep, ...(lineBytesPerMs === undefined ? {} : { lineBytesPerMs }) });
  expect([balloon.asked, balloon.ended]).toEqual([1, 0]);
  end();
  end();
  expect(balloon.ended).toBe(1);
  return [nowMs - 1000, balloon.named];
}

test('a guest that names its free pages at once is waited for', async () => {
  expect(await wait({ fromMs: 10, mebibytesPerMs: 4, all: 80 })).toEqual([30, 80]);
});

test('a guest that does not answer costs next to nothing', async () => {
  expect(await wait({ fromMs: 1e9, mebibytesPerMs: 1, all: 80 })).toEqual([50, 0]);
});

test('one that is slower than a line is not waited for, unless the line is slower still', async () => {
  const slow = { fromMs: 0, mebibytesPerMs: 0.1, all: 80 };
  expect((await wait(slow))[0]).toBeLessThan(100);
  expect(await wait(slow, MEBIBYTE / 100)).toEqual([250, 25]);
});

test('without a balloon there is nothing to wait for', async () => {
  const sleep = vi.fn<(ms: number) => Promise<void>>(() => Promise.resolve());
  const end = await hintFreePages({ platform: { virtio: [] } as unknown as Machine['platform'] }, { sleep });
  end();
  expect(sleep).not.toHaveBeenCalled();
});
