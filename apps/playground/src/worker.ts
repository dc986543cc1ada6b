/** The Worker: a machine host whose channel is that of the page. */
import { MachineHost } from './machine-host.js';
import type { Reply, Request } from './protocol.js';

/** The part of a Worker's global scope that is used here; the DOM's own types describe pages only. */
interface Scope {
  onmessage: ((event: { readonly data: Request }) => void) | null;
  postMessage(reply: Reply): void;
}

const scope = globalThis as unknown as Scope;
const host = new MachineHost((reply) => scope.postMessage(reply));
scope.onmessage = ({ data }) => void host.handle(data);
