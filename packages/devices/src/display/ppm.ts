import type { Picture } from './display.js';

/** A picture as a portable pixmap (`P6`, as `ppm(5)` describes it). */
export function formatPpm({ width, height, pixels }: Picture): Uint8Array {
  const header = new TextEncoder().encode(`P6\n${width} ${height}\n255\n`);
  const file = new Uint8Array(header.length + 3 * width * height);
  file.set(header);
  for (let from = 0, to = header.length; to < file.length; from += 4) {
    file[to++] = pixels[from]!;
    file[to++] = pixels[from + 1]!;
    file[to++] = pixels[from + 2]!;
  }
  return file;
}
