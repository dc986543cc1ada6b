import type { ContextStatus, Status } from './protocol.js';

const MOST_ROWS = 14;
const numbers = new Intl.NumberFormat('en');

const element = (tag: string, text: string, attributes: Record<string, string> = {}): HTMLElement => {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

/** One box in another: a level and what was said of it. */
function box(level: number, title: string, detail: string, runs: boolean): HTMLElement {
  const made = element('div', '', { class: 'level', 'data-level': String(Math.min(level, 4)), 'data-runs': runs ? 'yes' : 'no' });
  made.append(element('b', title), element('small', detail));
  return made;
}

/** What L0 can tell of a context: the first is L1's own guest; further ones may be L1's stand-ins for guests of L2, or more guests of L1. */
function titleOf({ kind, address }: ContextStatus, index: number): string {
  return `${index === 0 ? 'L2' : `L${index + 2} or another L2`} · ${kind.toUpperCase()} at ${address}`;
}

/** Draws levels, figures and exits of the latest status. */
export class LevelsView {
  private lastRetired = 0;
  private lastMs = 0;
  private mips = 0;

  constructor(
    private readonly nest: HTMLElement,
    private readonly figures: HTMLElement,
    private readonly exits: HTMLElement,
  ) {}

  show(status: Status, nowMs: number): void {
    const seconds = (nowMs - this.lastMs) / 1000;
    if (status.retired < this.lastRetired) this.lastRetired = 0;
    if (seconds > 0 && status.phase === 'running') this.mips = (status.retired - this.lastRetired) / seconds / 1e6;
    this.lastRetired = status.retired;
    this.lastMs = nowMs;
    this.drawNest(status);
    this.drawFigures(status);
    this.drawExits(status);
  }

  private drawNest({ contexts, samples, phase }: Status): void {
    const [root, guest] = samples;
    const share = Math.round((100 * guest) / Math.max(1, root + guest));
    const running = phase === 'running';
    const outer = box(1, 'L1 · root mode', running ? `${100 - share} % of the time` : '', running && root > 0);
    let inner = outer;
    for (const [index, context] of contexts.entries()) {
      const detail = `entered ${numbers.format(context.entries)} times · ${context.class}`;
      const next = box(index + 2, titleOf(context, index), detail, running && guest > 0 && context.class === 'executing');
      inner.append(next);
      inner = next;
    }
    this.nest.replaceChildren(outer);
  }

  private drawFigures({ retired, guestNs, levels, compiled }: Status): void {
    const rows: [string, string][] = [
      ['instructions', numbers.format(retired)],
      ['a second', `${this.mips.toFixed(0)} million`],
      ['guest time', `${(guestNs / 1e9).toFixed(2)} s`],
      ['VM entries', numbers.format(levels.entries)],
      ['failed entries', numbers.format(levels.failedEntries)],
      ['compiled', compiled === undefined ? 'off' : `${numbers.format(compiled)} instructions`],
    ];
    this.figures.replaceChildren(...rows.flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
  }

  private drawExits({ levels }: Status): void {
    const most = levels.exits[0]?.count ?? 1;
    const rows = levels.exits.slice(0, MOST_ROWS).map(({ reason, count }) => {
      const row = document.createElement('tr');
      row.append(element('td', reason, { style: `--share: ${((100 * count) / most).toFixed(1)}%` }), element('td', numbers.format(count)));
      return row;
    });
    this.exits.replaceChildren(...rows);
  }
}
