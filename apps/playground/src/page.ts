import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import { demos } from './demos.js';
import { LevelsView } from './levels-view.js';
import type { MachineOrder, Phase, Reply, Request, Told } from './protocol.js';

const find = <T extends HTMLElement>(id: string): T => {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`page.html has no element '${id}'`);
  return found as T;
};

const terminal = new Terminal({ convertEol: true, scrollback: 5000, fontSize: 13, theme: { background: '#000000' } });
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(find('terminal'));
fit.fit();
new ResizeObserver(() => fit.fit()).observe(find('terminal'));

const view = new LevelsView(find('nest'), find('figures'), find('exits').firstElementChild as HTMLElement);
const worker = new Worker(new URL('worker.js', document.baseURI), { type: 'module' });
const send = (request: Request): void => worker.postMessage(request);
const file = async (input: HTMLInputElement): Promise<{ name: string; bytes: Uint8Array } | undefined> => {
  const chosen = input.files?.[0];
  return chosen && { name: chosen.name, bytes: new Uint8Array(await chosen.arrayBuffer()) };
};

let phase: Phase = 'ended';
/** The machine that a snapshot is loaded into: the one that was started last. */
let lastOrder: MachineOrder | undefined;
/** Number of the machine that the page shows. */
let run = 0;

function say(text: string, bad = false): void {
  const message = find('message');
  message.hidden = text === '';
  message.textContent = text;
  message.dataset['kind'] = bad ? 'bad' : 'good';
}

function setPhase(next: Phase): void {
  phase = next;
  const shown = find('phase');
  shown.dataset['phase'] = next;
  shown.textContent = next === 'ended' ? 'off' : next;
  for (const id of ['pause', 'reset', 'save']) find<HTMLButtonElement>(id).disabled = next === 'ended';
  find('pause').textContent = next === 'paused' ? 'Resume' : 'Pause';
}

/** What the page is set to for every machine. */
const compiling = (): Pick<MachineOrder, 'jit'> => {
  const { value } = find<HTMLSelectElement>('jit');
  return { jit: value === 'force' ? value : value === 'on' };
};

function start(asked: MachineOrder): void {
  const order = { ...asked, ...compiling() };
  say('');
  setPhase('running');
  terminal.reset();
  const { snapshot: _, ...machine } = order;
  lastOrder = machine;
  send({ kind: 'start', run: ++run, order });
  terminal.focus();
}

function download(bytes: Uint8Array, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type: 'application/octet-stream' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const FAILED = { start: 'The machine cannot be made', save: 'Not saved', run: 'Nestvm failed' } as const;

function receive(reply: Reply): void {
  switch (reply.kind) {
    case 'output':
      return terminal.write(reply.bytes);
    case 'status':
      setPhase(reply.status.phase);
      return view.show(reply.status, performance.now());
    case 'ended':
      setPhase('ended');
      return say(`Ended: ${reply.how}.`);
    case 'saved':
      download(reply.bytes, 'machine.nestvm');
      return say(`Saved ${(reply.bytes.length / 2 ** 20).toFixed(1)} MiB.`);
    case 'failed':
      if (reply.what !== 'save') setPhase('ended');
      return say(`${FAILED[reply.what]}: ${reply.message}`, true);
  }
}

async function boot(): Promise<void> {
  const kernel = await file(find('kernel'));
  if (!kernel) return say('Choose a kernel file first.', true);
  const initrd = await file(find('initrd'));
  const [disk, relay] = ['disk', 'relay'].map((id) => find<HTMLInputElement>(id).value.trim());
  start({
    board: find<HTMLSelectElement>('board').value as MachineOrder['board'],
    cpu: find<HTMLInputElement>('cpu').value,
    nested: find<HTMLInputElement>('nested').checked,
    memoryMiB: Number(find<HTMLInputElement>('memory').value),
    kernel,
    ...(initrd ? { initrd } : {}),
    commandLine: find<HTMLInputElement>('append').value,
    ...(disk ? { disk } : {}),
    ...(relay ? { relay } : {}),
  });
}

async function load(): Promise<void> {
  const input = find<HTMLInputElement>('load');
  const snapshot = await file(input);
  input.value = '';
  if (!snapshot) return;
  if (!lastOrder) return say('Start the machine that the snapshot is of first; its state is then replaced.', true);
  start({ ...lastOrder, snapshot: snapshot.bytes });
}

worker.onmessage = ({ data }: MessageEvent<Told>) => {
  if (data.run === run) receive(data.reply);
};
worker.onerror = (event) => say(`The Worker failed: ${event.message}`, true);
terminal.onData((text) => send({ kind: 'input', bytes: new TextEncoder().encode(text) }));
find('demos').append(
  ...demos.map(({ id, title, about, order }) => {
    const button = document.createElement('button');
    button.className = 'demo';
    button.id = `demo-${id}`;
    button.textContent = title;
    const small = document.createElement('small');
    small.textContent = about;
    button.append(small);
    button.onclick = () => start(order());
    return button;
  }),
);
find('boot').onclick = () => void boot();
find('load').onchange = () => void load();
find('pause').onclick = () => send({ kind: phase === 'paused' ? 'resume' : 'pause' });
find('reset').onclick = () => send({ kind: 'reset' });
find('save').onclick = () => send({ kind: 'save' });
terminal.write('Choose a guest on the left.\r\n');
