import { BytesExchange, FileServer, MemoryTree } from '@nestvm/folders';

const tree = new MemoryTree();
tree.writeFile('etc/motd', 'hello\n');
const server = new FileServer({ tree });

// Tversion: size, type, tag, largest message, the protocol's name.
const request = new BytesExchange(Uint8Array.of(21, 0, 0, 0, 100, 255, 255, 0, 32, 0, 0, 8, 0, ...new TextEncoder().encode('9P2000.L')), 64);
console.log('answer of', server.exchange(request), 'bytes, type', request.answer[4]);
console.log(new TextDecoder().decode(tree.readFile('etc/motd')).trim());
