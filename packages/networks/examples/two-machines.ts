import { Hub } from '@nestvm/networks';

const hub = new Hub();
const [left, right] = [hub.port(), hub.port()];
right.receiver = (frame) => console.log('right hears', frame.length, 'bytes');
left.receiver = (frame) => console.log('left hears', frame.length, 'bytes');

left.send(new Uint8Array(60));
right.send(new Uint8Array(1514));
