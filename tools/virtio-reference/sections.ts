/** A device-normative section of "Virtual I/O Device (VIRTIO)", what it asks of devices here, and the test that holds them to it. */
export interface Section {
  /** Title, below that of its group. */
  readonly title: string;
  /** What a device must do, in our words. */
  readonly rule: string;
  /** File in packages/devices/test/virtio, without `.test.ts`, and the beginning of the test's name. */
  readonly test: readonly [file: string, name: string];
  /** Applies only where this is offered; nothing here offers it. */
  readonly notOffered?: boolean;
}

/** Sections of one conformance target. */
export interface Group {
  readonly title: string;
  /** What is particular about it, said above its table. */
  readonly note?: string;
  readonly sections: readonly Section[];
}

const section = (title: string, rule: string, file: string, name: string): Section => ({ title, rule, test: [file, name] });
const absent = (title: string, rule: string, file: string, name: string): Section => ({ title, rule, test: [file, name], notOffered: true });

const basic: Group = {
  title: 'Basic Facilities of a Virtio Device',
  sections: [
    section(
      'Device Status Field',
      'status bits stay until a reset; nothing is taken from queues before DRIVER_OK; a broken device sets NEEDS_RESET and tells so',
      'rings',
      'takes nothing before DRIVER_OK',
    ),
    section(
      'Feature Bits',
      'FEATURES_OK stays off for features that were not offered; features change no more after it',
      'transports',
      'offers VERSION_1 and refuses to go without',
    ),
    section('Device Reset', 'a write of 0 resets all state, and the status reads 0', 'conformance', 'is new after a reset'),
    section(
      'Device Configuration Space',
      'fields are readable before FEATURES_OK; the generation changes with them',
      'transports',
      'shows configuration at every width',
    ),
    section('Message Framing', 'nothing depends on where a request is cut into descriptors', 'conformance', 'answers alike however a request is cut'),
    section(
      'Virtqueue Reset',
      'a queue that was reset uses no buffer of before, and its interrupts end',
      'rings',
      'resets one queue and leaves the other',
    ),
    section(
      'Virtqueue Re-enable',
      'a queue that was reset may come back at another place and size',
      'conformance',
      'takes a queue again after its reset',
    ),
    section(
      'The Virtqueue Descriptor Table',
      'readable buffers are not written, writable ones not read; chains that are too long are no loop for the device',
      'rings',
      'names $clause',
    ),
    section(
      'Indirect Descriptors',
      'an indirect table is followed; the write flag of the descriptor that points to it is ignored',
      'conformance',
      'ignores the write flag of a descriptor that points to a table',
    ),
    section(
      'Used Buffer Notification Suppression',
      'no interrupt where the driver wants none; with EVENT_IDX one at the buffer that it names',
      'rings',
      'leaves out interrupts that the driver does not want',
    ),
    section(
      'The Virtqueue Used Ring',
      'the length is that of what was written, from the first byte on',
      'rings',
      'serves several buffers for one notification',
    ),
    section(
      'Available Buffer Notification Suppression',
      'flags are 0 with EVENT_IDX; avail_event names the next buffer that is to be told of',
      'rings',
      'asks for a notification only for what it has not seen',
    ),
    section(
      'Packed Virtqueues',
      'buffers are used in whatever order, with the wrap counter in AVAIL and USED',
      'rings',
      'carries many buffers around the ring',
    ),
    section(
      'Packed Virtqueues: Event Suppression Structure Format',
      'the device writes only its own structure, the driver’s is read',
      'rings',
      'asks for a notification only for what it has not seen',
    ),
    section('Packed Virtqueues: The Virtqueue Descriptor Table', 'a chain is not longer than the queue', 'rings', 'names $clause'),
    section(
      'Packed Virtqueues: Scatter-Gather Support',
      'chains of descriptors are one buffer, with the id of the last',
      'conformance',
      'answers alike however a request is cut',
    ),
    absent('Shared Memory Regions', 'there are none: they read as having no length', 'transports', 'says who it is, and answers only whole words'),
    section(
      'Reserved Feature Bits: VERSION_1',
      'always offered; without it the modern interface refuses',
      'transports',
      'offers VERSION_1 and refuses to go without',
    ),
    section(
      'Reserved Feature Bits: ACCESS_PLATFORM',
      'offered; addresses are guest-physical either way',
      'conformance',
      'negotiates what belongs to no type',
    ),
    section(
      'Reserved Feature Bits: IN_ORDER',
      'buffers are used in the order in which they were made available',
      'block',
      'keeps buffers in order with IN_ORDER',
    ),
    section('Reserved Feature Bits: NOTIFICATION_DATA', 'notifications with a position are understood', 'rings', 'accepts notification data'),
    section('Reserved Feature Bits: RING_RESET', 'offered, with the registers of both transports', 'rings', 'resets one queue and leaves the other'),
  ],
};

const pci: Group = {
  title: 'Virtio Over PCI Bus',
  sections: [
    section(
      'PCI Device Discovery',
      'vendor 1AF4h, 1000h to 107Fh, revision by interface',
      'transports',
      'identifies itself, and lists its structures',
    ),
    section(
      'PCI Device Layout',
      'registers answer accesses of their width; others do no harm',
      'transports',
      'answers the common configuration at every width',
    ),
    section(
      'Virtio Structure PCI Capabilities',
      'each structure has a capability that lies in its BAR',
      'transports',
      'identifies itself, and lists its structures',
    ),
    section(
      'Common configuration structure layout',
      'queue_size 0 for queues that are not there; queue_enable and queue_reset read back',
      'conformance',
      'keeps the registers of a queue',
    ),
    section('Notification capability', 'each queue has its place, with an offset that reads back', 'conformance', 'keeps the registers of a queue'),
    section('ISR status capability', 'reading clears, and lets the pin fall', 'transports', 'interrupts when configuration changes while it runs'),
    section('Device-specific configuration', 'there is a structure for it when the type has one', 'transports', 'shows configuration at every width'),
    absent('Shared memory capability', 'there is none', 'transports', 'identifies itself, and lists its structures'),
    section('PCI configuration access capability', 'a window of 1, 2 or 4 bytes into the BARs', 'transports', 'reaches its BARs through the window'),
    section(
      'Non-transitional Device With Legacy Driver',
      'no BAR 0 for I/O, device id from 1040h on',
      'conformance',
      'has nothing for legacy drivers when it is modern',
    ),
    section(
      'MSI-X Vector Configuration',
      'vectors that are not there read back as NO_VECTOR; reset unmaps all',
      'transports',
      'grants MSI-X vectors that it has',
    ),
    section('Used Buffer Notifications', 'by vector, or by ISR and pin', 'transports', 'grants MSI-X vectors that it has'),
    section(
      'Notification of Device Configuration Changes',
      'by vector, or by ISR and pin',
      'transports',
      'interrupts when configuration changes while it runs',
    ),
    section('Legacy Interfaces', 'registers in BAR 0, queues in one piece of pages, no FEATURES_OK', 'transports', 'has a legacy interface'),
  ],
};

const mmio: Group = {
  title: 'Virtio Over MMIO',
  sections: [
    section(
      'MMIO Device Register Layout',
      'magic, version 2, device id; queue registers by QueueSel; reset clears InterruptStatus and QueueReady',
      'transports',
      'says who it is, and answers only whole words',
    ),
    section(
      'MMIO Device Register Layout: ConfigGeneration',
      'changes whenever configuration may have been read in two states',
      'transports',
      'shows configuration at every width',
    ),
  ],
};

const devices: readonly Group[] = [
  {
    title: 'Network Device',
    sections: [
      section('Device configuration layout', 'a unicast address; status and pairs where offered', 'net', 'tells its address and that the link is up'),
      section(
        'Packet Transmission',
        'offload flags only as negotiated; frames leave without their header',
        'net',
        'leaves checksums and segmentation to a network',
      ),
      section('Setting Up Receive Buffers', 'several buffers for a frame only with MRG_RXBUF', 'net', 'merges buffers for long frames'),
      section(
        'Processing of Incoming Packets',
        'num_buffers 1 without merging; checksum flags only for drivers that asked',
        'net',
        'passes offloads on to a guest',
      ),
      section(
        'Control Virtqueue: Packet Receive Filtering',
        'promiscuous, all-multicast and the rest as commanded',
        'net',
        'filters what it receives as the control queue says',
      ),
      section(
        'Control Virtqueue: Setting MAC Address Filtering',
        'tables of addresses; the address itself by command',
        'net',
        'filters what it receives as the control queue says',
      ),
      section('Control Virtqueue: VLAN Filtering', 'only VLANs that were added', 'net', 'passes tagged frames of the VLANs'),
      section(
        'Control Virtqueue: Gratuitous Packet Sending',
        'the guest is asked to announce itself after a snapshot',
        'net',
        'goes on after it was saved and loaded',
      ),
      section(
        'Control Virtqueue: Automatic receive steering in multiqueue mode',
        'answers come on the pair that the guest sends on',
        'net',
        'answers a connection on the pair',
      ),
      absent(
        'Control Virtqueue: Receive-side scaling (RSS): RSS processing',
        'the feature is not offered, its commands get ERR',
        'net',
        'refuses commands of features that it does not offer',
      ),
      absent(
        'Control Virtqueue: Notifications Coalescing',
        'the feature is not offered, its commands get ERR',
        'net',
        'refuses commands of features that it does not offer',
      ),
      absent(
        'Control Virtqueue: Inner Header Hash',
        'the feature is not offered, its commands get ERR',
        'net',
        'refuses commands of features that it does not offer',
      ),
      absent(
        'Control Virtqueue: Device Statistics',
        'the feature is not offered, its commands get ERR',
        'net',
        'refuses commands of features that it does not offer',
      ),
      absent(
        'Control Virtqueue: RSS Context',
        'the feature is not offered, its commands get ERR',
        'net',
        'refuses commands of features that it does not offer',
      ),
    ],
  },
  {
    title: 'Block Device',
    sections: [
      section(
        'Device Initialization',
        'writeback reads back; limits of discard and write zeroes are there',
        'block',
        'discards and writes zeroes in segments',
      ),
      section('Device Operation', 'whole sectors inside the disk; flush means flushed; a status for every request', 'block', 'fails beyond the end'),
      section(
        'Device Operation: write cache',
        'without a cache a write is on the disk when it completes',
        'block',
        'flushes when asked, and by itself without a write cache',
      ),
    ],
  },
  {
    title: 'Console Device',
    sections: [
      section('Device Initialization', 'size in configuration; emergency writes at any time', 'console', 'is one terminal without MULTIPORT'),
      section('Multiport Device Operation', 'ports are added, named and opened by control messages', 'console', 'introduces its ports'),
    ],
  },
  {
    title: 'Entropy Device',
    sections: [section('Device Operation', 'at least a byte of random data in every buffer', 'transports', 'entropy fills what it is given')],
  },
  {
    title: 'Traditional Memory Balloon Device',
    sections: [
      section('Feature bits', 'DEFLATE_ON_OOM as its owner wants it', 'balloon', 'offers DEFLATE_ON_OOM only when it is wanted'),
      section(
        'Device Operation',
        'pages of an inflate request are cleared before it is acknowledged, and not afterwards',
        'balloon',
        'clears what goes into the balloon',
      ),
      section('Memory Statistics', 'unknown tags are ignored, any order is taken', 'balloon', 'keeps a buffer of statistics'),
      section(
        'Free Page Hinting',
        'each round has a number of its own; pages of other rounds, and after DONE, are left alone',
        'balloon',
        'clears hinted pages of the round',
      ),
      section('Page Poison', 'poison_val is kept as the driver writes it', 'balloon', 'clears reported pages, to the poison'),
      section('Free Page Reporting', 'pages become zero, with PAGE_POISON nothing but poison_val', 'balloon', 'clears reported pages, to the poison'),
    ],
  },
  {
    title: 'SCSI Host Device',
    sections: [
      section('Device configuration layout', 'a reset sets sense_size to 96 and cdb_size to 32', 'scsi', 'takes the sizes that the driver chooses'),
      section('Device Initialization', 'requests and task management may come at once', 'scsi', 'takes requests and task management at once'),
      section(
        'Device Operation: Request Queues',
        'status by SAM; response OK, OVERRUN, ABORTED, BAD_TARGET, RESET or FAILURE',
        'scsi',
        'reads and writes by commands of %s bytes',
      ),
      section('Device Operation: controlq', 'what a function affects is completed before its own answer', 'scsi', 'manages tasks'),
      section('Device Operation: eventq', 'events wait for buffers; those that were lost are told of', 'scsi', 'tells of another size'),
    ],
  },
  {
    title: 'Socket Device',
    sections: [
      section('Feature bits', 'streams; no SEQPACKET', 'vsock', 'refuses ports that nobody answers'),
      section(
        'Virtqueue Flow Control',
        'packets are taken while there is room for their answers',
        'vsock',
        'takes no more from a guest that does not read',
      ),
      section(
        'Buffer Space Management',
        'no more bytes than the peer has room for; buf_alloc and fwd_cnt in every packet',
        'vsock',
        'sends no more than the guest has room for',
      ),
      section('Receive and Transmit', 'guest_cid is no reserved one; RST for types that are not known', 'vsock', 'refuses ports that nobody answers'),
    ],
  },
  {
    title: 'GPU Device',
    sections: [
      section('Device Initialization', 'displays and their EDID are there to be asked for', 'gpu', 'describes its display'),
      section('Device Initialization: EDID', 'EDID of each display, when it was negotiated', 'gpu', 'has EDID whose checksum is right'),
      section(
        'Device Operation: Command lifecycle and fencing',
        'what has a fence is finished when it is answered, and the answer has the fence',
        'gpu',
        'has finished a fenced command when it answers',
      ),
      section('Device configuration layout', 'events_clear clears the bits that are written', 'gpu', 'describes its display'),
      section('Device Operation: controlq', 'wrong commands get an error code each, and change nothing', 'gpu', 'refuses what cannot be'),
      section('Device Operation: cursorq', 'the pointer moves, with or without another picture', 'gpu', 'hears of the pointer'),
    ],
  },
  {
    title: '9P Transport',
    note: 'The specification reserves the device id only; the rules are those that Linux’s driver and QEMU go by.',
    sections: [
      section('Device configuration layout', 'tag_len, and a tag of so many bytes without a zero', 'files', 'shows its tag, and carries messages'),
      section('Feature bits', 'MOUNT_TAG is offered', 'files', 'offers MOUNT_TAG'),
      section('Device Operation', 'a message is answered in its own buffer', 'files', 'answers several messages of one notification'),
      section('Device Operation: messages', 'what is no message breaks the device', 'files', 'wants a reset when what comes is no message'),
      section('Device Reset', 'a reset closes what the driver had open', 'files', 'tells its server of resets'),
    ],
  },
  {
    title: 'Input Device',
    sections: [
      section('Device Initialization', 'size is 0 for a select and subsel that say nothing', 'input', 'says what it is'),
      section(
        'Device Operation',
        'when buffers are missing, whole reports are lost, and never a part of one',
        'input',
        'loses whole reports, and never a part of one',
      ),
      section('Device Operation: eventq', 'each report ends with a SYN event', 'input', 'reports keys, and ends each report'),
      section('Device Operation: statusq', 'status events are taken, and their buffers given back', 'input', 'switches lights'),
      section('Device Operation: malformed buffers', 'room for less than an event breaks the device', 'input', 'wants room for a whole event'),
    ],
  },
];

/** All of them, in the order of the specification's chapter on conformance. */
export const groups: readonly Group[] = [basic, pci, mmio, ...devices];
