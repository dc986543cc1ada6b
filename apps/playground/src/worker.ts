/** The Worker: a machine host whose channel is that of the page. */
import { MachineHost } from './machine-host.js';
import type { Request, Told } from './protocol.js';

/** The part of a Worker's global scope that is used here; the DOM's own types describe pages only. */
interface Scope {
  onmessage: ((event: { readonly data: Request }) => void) | null;
  postMessage(told: Told): void;
}

const scope = globalThis as unknown as Scope;
const host = new MachineHost((told) => scope.postMessage(told));
scope.onmessage = ({ data }) => void host.handle(data);
