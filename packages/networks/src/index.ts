/**
 * Networks for virtual machines: user mode (DHCP, DNS, NAT), a cable over a socket, a relay behind a WebSocket, hubs, dumps.
 * @packageDocumentation
 */
export type { Network, Offload, Receiver } from './network.js';
export type { TftpFile, TftpFolder } from './user/tftp.js';
export { UserNetwork, type GuestForward, type HostForward, type UserNetworkOptions } from './user/user-network.js';
export type { NetworkHost, TcpEvents, TcpSocket, UdpSocket } from './user/host.js';
export { SocketLink, type LinkStream } from './socket-link.js';
export { FinishingNetwork } from './finishing-network.js';
export { Hub } from './hub.js';
export { DumpedNetwork, type DumpOptions } from './dump.js';
export { NetworkError, type NetworkErrorCode } from './errors.js';
export { type FrameSocket, WebSocketNetwork, type WebSocketNetworkOptions } from './web-socket-network.js';
