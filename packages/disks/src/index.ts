/**
 * Disk images: raw and qcow2 over any kind of file or a web server, and overlays in memory.
 * @packageDocumentation
 */
export { type Disk, type DiskFile } from './disk.js';
export { DiskError, type DiskErrorCode } from './errors.js';
export { type ImageFormat, type ImageHost, type ImageOptions, openImage, probeFormat } from './image.js';
export { MemoryFile } from './memory-file.js';
export { OverlayDisk } from './overlay-disk.js';
export { type CreateQcow2Options, createQcow2 } from './qcow2/create.js';
export { type Qcow2Header } from './qcow2/header.js';
export { type Decompress, Qcow2Disk, type Qcow2Options } from './qcow2/qcow2-disk.js';
export { checkQcow2, type Qcow2Report } from './qcow2/references.js';
export { RawDisk } from './raw-disk.js';
export { type HttpFetch, type HttpOptions, type HttpResponse, openHttpSource } from './remote/http-source.js';
export { openRemoteImage, type RemoteDisk, type RemoteImageOptions } from './remote/remote-disk.js';
export { type ByteSource } from './remote/source.js';
