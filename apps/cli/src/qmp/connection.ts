import { isActive, L2ActiveError } from '@nestvm/migration';
import { messageOf } from '../migration/failure.js';
import type { MonitorTarget, SessionEvent } from '../monitor/target.js';
import { parametersOf, qmpCommands } from './commands.js';
import { QmpError } from './errors.js';
import { JsonStream } from './json-stream.js';
import { qmpVersion } from './version.js';

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Host time as QMP writes it. */
function timestamp(): { seconds: number; microseconds: number } {
  const now = Date.now();
  return { seconds: Math.floor(now / 1000), microseconds: (now % 1000) * 1000 };
}

/** A failure as `{class, desc}`, for refusals of ours with `data`. */
function errorOf(error: unknown): unknown {
  if (error instanceof QmpError) return { class: error.code, desc: error.message, ...(error.data === undefined ? {} : { data: error.data }) };
  if (error instanceof L2ActiveError)
    return { class: 'L2Active', desc: error.message.replace(/^migration: /, ''), data: { contexts: error.contexts.filter(isActive) } };
  return { class: 'GenericError', desc: messageOf(error) };
}

/** One client of QMP: the greeting, the handshake, then commands in order and events as they happen. Nothing that it sends can throw. */
export class QmpConnection {
  private readonly stream = new JsonStream();
  private negotiated = false;
  private readonly unlisten: () => void;
  /** Commands are answered in the order in which they came. */
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly target: MonitorTarget,
    private readonly write: (text: string) => void,
  ) {
    this.unlisten = target.listen((event) => this.tell(event));
  }

  enter(): void {
    this.send({ QMP: { version: qmpVersion, capabilities: [] } });
  }

  receive(bytes: Uint8Array): void {
    for (const item of this.stream.push(bytes)) {
      if ('error' in item) this.answer({ error: { class: 'GenericError', desc: `JSON parse error: ${item.error}` } });
      else this.last = this.last.then(() => this.run(item.value));
    }
  }

  close(): void {
    this.unlisten();
  }

  private async run(message: unknown): Promise<void> {
    const id = isObject(message) && 'id' in message ? { id: message['id'] } : {};
    try {
      const result = await this.execute(message);
      this.send({ return: result ?? {}, ...id });
    } catch (error) {
      this.send({ error: errorOf(error), ...id });
    }
  }

  private execute(message: unknown): unknown {
    if (!isObject(message)) throw new QmpError('GenericError', 'QMP input must be a JSON object');
    const { execute: name, arguments: given = {} } = message;
    const stray = Object.keys(message).find((key) => !['execute', 'arguments', 'id'].includes(key));
    if (stray !== undefined) throw new QmpError('GenericError', `QMP input member '${stray}' is unexpected`);
    if (typeof name !== 'string') throw new QmpError('GenericError', "QMP input lacks member 'execute'");
    if (!isObject(given)) throw new QmpError('GenericError', "QMP input member 'arguments' must be an object");
    if (name === 'qmp_capabilities') return this.negotiate();
    if (!this.negotiated) throw new QmpError('CommandNotFound', "Expecting capabilities negotiation with 'qmp_capabilities'");
    const row = Object.hasOwn(qmpCommands, name) ? qmpCommands[name] : undefined;
    if (row === undefined) throw new QmpError('CommandNotFound', `The command ${name} has not been found`);
    const unknown = Object.keys(given).find((key) => !row.open && !parametersOf(row).includes(key));
    if (unknown !== undefined) throw new QmpError('GenericError', `Parameter '${unknown}' is unexpected`);
    return row.run(this.target, given);
  }

  private negotiate(): unknown {
    if (this.negotiated) throw new QmpError('CommandNotFound', 'Capabilities negotiation is already complete, command ignored');
    this.negotiated = true;
    return {};
  }

  private tell({ event, ...rest }: SessionEvent): void {
    if (this.negotiated) this.send({ timestamp: timestamp(), event, ...rest });
  }

  /** Something in the order of the answers. */
  private answer(message: unknown): void {
    this.last = this.last.then(() => this.send(message));
  }

  private send(message: unknown): void {
    this.write(`${JSON.stringify(message)}\r\n`);
  }
}
