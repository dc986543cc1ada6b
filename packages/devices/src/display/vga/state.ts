import { flag, integer, list, record, type Saved, unsigned } from '../../saved-state.js';
import { Attribute, Crtc, Dispi, Graphics, Sequencer } from './registers.js';

const bytes = (length: number) => list(unsigned(8), { length });

/** Saved state of a VGA's registers; video memory is saved as memory. */
export const vgaSchema = record({
  sequencer: bytes(Sequencer.COUNT),
  graphics: bytes(Graphics.COUNT),
  crtc: bytes(Crtc.COUNT),
  attribute: bytes(Attribute.COUNT),
  indexes: bytes(4),
  attributeData: flag,
  misc: unsigned(8),
  feature: unsigned(8),
  latch: unsigned(32),
  colours: bytes(768),
  dac: record({ mask: unsigned(8), readIndex: unsigned(8), writeIndex: unsigned(8), part: integer(0, 2), state: integer(0, 3), pending: bytes(3) }),
  vbe: list(unsigned(16), { length: Dispi.COUNT }),
  vbeIndex: unsigned(16),
});
/** Saved state of a VGA's registers. */
export type SavedVga = Saved<typeof vgaSchema>;
