import { parseInteger } from '../text.js';
import type { VirtioRow } from './row.js';

/** What a graphics card is told. */
export interface GraphicsSpec {
  readonly kind: 'graphics';
  readonly width: number;
  readonly height: number;
}

/** `virtio-gpu`. */
export const graphicsRow: VirtioRow<GraphicsSpec> = {
  stem: 'virtio-gpu',
  keys: ['xres', 'yres'],
  help: 'a graphics card without acceleration, for screendump in the monitor',
  modern: true,
  parse: (option, values) => ({
    kind: 'graphics',
    width: parseInteger(`${option},xres`, values.get('xres') ?? '1280', 64, 4095),
    height: parseInteger(`${option},yres`, values.get('yres') ?? '800', 64, 4095),
  }),
};
