import type { Emitter } from '../emitter.js';

/** Meanings under their legacy names and, where the VEX form does the same to more or other registers, under `V…` too. */
export function withVex(meanings: Readonly<Record<string, Emitter>>): Record<string, Emitter> {
  const result: Record<string, Emitter> = {};
  for (const [name, emitter] of Object.entries(meanings)) {
    result[name] = emitter;
    result[`V${name}`] = emitter;
  }
  return result;
}
