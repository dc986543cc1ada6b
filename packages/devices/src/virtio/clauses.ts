/** A driver-normative clause that the device checks. */
export interface Clause {
  /** Section of "Virtual I/O Device (VIRTIO)" by title. */
  readonly section: string;
  /** What a driver must do, in our words. */
  readonly rule: string;
}

/** The clauses that the validator knows, by name. */
export const clauses = {
  'queue-size': {
    section: 'Virtqueue Configuration',
    rule: 'a split queue has a power of two of descriptors, and no queue more than the device offers',
  },
  'queue-alignment': {
    section: 'Virtqueues',
    rule: 'the parts of a queue are aligned: descriptors to 16, the available ring to 2, the used ring to 4',
  },
  'queue-address': { section: 'Virtqueues', rule: 'every part of an enabled queue lies in memory' },
  'queue-enable-order': { section: 'Device Initialization', rule: 'queues are used after FEATURES_OK has been read back and DRIVER_OK set' },
  'avail-index': { section: 'The Virtqueue Available Ring', rule: 'no more buffers are available than the queue has descriptors' },
  'avail-head': { section: 'The Virtqueue Available Ring', rule: 'an available entry names a descriptor of the table' },
  'descriptor-next': { section: 'The Virtqueue Descriptor Table', rule: 'the next descriptor lies in the table' },
  'descriptor-loop': { section: 'The Virtqueue Descriptor Table', rule: 'a chain is not longer than the queue, so it has no loop' },
  'descriptor-order': { section: 'Message Framing', rule: 'device-writable descriptors come after all device-readable ones' },
  'descriptor-length': { section: 'The Virtqueue Descriptor Table', rule: 'a chain has less than 2^32 bytes' },
  'descriptor-address': { section: 'The Virtqueue Descriptor Table', rule: 'every buffer lies in memory' },
  'indirect-feature': { section: 'Indirect Descriptors', rule: 'INDIRECT is set only when INDIRECT_DESC was negotiated' },
  'indirect-next': { section: 'Indirect Descriptors', rule: 'INDIRECT and NEXT are not set together' },
  'indirect-nested': { section: 'Indirect Descriptors', rule: 'an indirect table has no indirect descriptors' },
  'indirect-length': { section: 'Indirect Descriptors', rule: 'an indirect table is a whole number of descriptors, and at least one' },
  'indirect-address': { section: 'Indirect Descriptors', rule: 'an indirect table lies in memory' },
  'packed-chain': { section: 'Packed Virtqueues: Multi-buffer requests', rule: 'all descriptors of a chain are made available together' },
  'device-request': { section: 'Device Types: Device Operation', rule: 'a request has the parts that its device type asks for' },
} as const satisfies Readonly<Record<string, Clause>>;

/** Name of a clause. */
export type ClauseName = keyof typeof clauses;

/** A clause that a driver broke: which, in which queue (-1: none), and how. */
export interface Violation {
  readonly clause: ClauseName;
  readonly queue: number;
  readonly detail: string;
}

/** A violation as a line of text. */
export function formatViolation({ clause, queue, detail }: Violation): string {
  const { section, rule } = clauses[clause];
  return `${queue < 0 ? 'device' : `queue ${queue}`}: ${detail}; VIRTIO, ${section}: ${rule}`;
}
