import type { Network, Receiver } from './network.js';

/** A hub: what comes in at one port goes out at all others. */
export class Hub {
  readonly #ports: HubPort[] = [];

  /** A new port. */
  port(): Network {
    const port = new HubPort(
      (from, frame) => this.#repeat(from, frame),
      (gone) => {
        const at = this.#ports.indexOf(gone);
        if (at >= 0) this.#ports.splice(at, 1);
      },
    );
    this.#ports.push(port);
    return port;
  }

  /** A new port that another network is plugged into, as a device would be. */
  connect(network: Network): void {
    const port = this.port();
    port.receiver = (frame) => {
      network.send(frame);
      network.flush?.();
    };
    network.receiver = (frame) => port.send(frame);
  }

  #repeat(from: HubPort, frame: Uint8Array): void {
    for (const port of this.#ports) if (port !== from) port.receiver?.(frame);
  }
}

class HubPort implements Network {
  /** Others on the hub may not take unfinished frames. */
  readonly offloads = false;
  receiver: Receiver | undefined;

  constructor(
    private readonly repeat: (from: HubPort, frame: Uint8Array) => void,
    private readonly unplug: (port: HubPort) => void,
  ) {}

  send(frame: Uint8Array): void {
    this.repeat(this, frame);
  }

  close(): void {
    this.receiver = undefined;
    this.unplug(this);
  }
}
