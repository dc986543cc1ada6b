import { UsageError } from '../../errors.js';
import { parseInteger, parseSwitch } from '../text.js';
import type { VirtioRow } from './row.js';

/** What a network card is told. */
export interface CardSpec {
  readonly kind: 'network';
  /** Id of its network. */
  readonly netdev: string;
  /** Ethernet address as text (default: one by the number of the card). */
  readonly mac?: string;
  readonly multiqueue: boolean;
  readonly queueSize: number;
  readonly mtu?: number;
}

/** `virtio-net`. */
export const networkRow: VirtioRow<CardSpec> = {
  stem: 'virtio-net',
  keys: [
    'netdev',
    'mac',
    'mq',
    'host_mtu',
    'rx_queue_size',
    'tx_queue_size',
    'mrg_rxbuf',
    'csum',
    'gso',
    'host_tso4',
    'host_ecn',
    'guest_csum',
    'guest_tso4',
  ],
  help: 'a network card on a -netdev',
  parse: (option, values) => {
    const netdev = values.get('netdev');
    if (netdev === undefined) throw new UsageError(`${option}: netdev= is missing; write -netdev user,id=n0 ${option},netdev=n0`);
    const mac = values.get('mac');
    const mtu = values.get('host_mtu');
    return {
      kind: 'network',
      netdev,
      multiqueue: values.has('mq') && parseSwitch(`${option},mq`, values.get('mq')!),
      queueSize: parseInteger(`${option},rx_queue_size`, values.get('rx_queue_size') ?? '256', 64, 1024),
      ...(mac === undefined ? {} : { mac }),
      ...(mtu === undefined ? {} : { mtu: parseInteger(`${option},host_mtu`, mtu, 68, 65_535) }),
    };
  },
};
