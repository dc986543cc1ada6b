import { describe, expect, it } from 'vitest';
import { FileServer, MemoryTree } from '../src/index.js';
import { FileClient, treeChecks } from '../src/testing/index.js';

describe('a tree in memory', () => {
  it.each(treeChecks)('$name', ({ run }) => {
    const client = new FileClient(new FileServer({ tree: new MemoryTree() }));
    client.mount();
    expect(() => run(client)).not.toThrow();
  });
});
