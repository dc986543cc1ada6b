import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect, createSecureContext, createServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { UsageError } from '../errors.js';
import { reasonOf } from '../files.js';
import { assertKeys, parseProperties, parseSwitch } from '../options/text.js';

/** `-object tls-creds-x509`: a folder with certificates by QEMU's names, and which end of the line it is for. */
export interface TlsCredentials {
  readonly id: string;
  readonly folder: string;
  readonly endpoint: 'client' | 'server';
  readonly verifyPeer: boolean;
}

const TYPE = 'tls-creds-x509';

/** Parses one `-object tls-creds-x509`; throws `UsageError`. */
export function parseTlsCredentials(text: string): TlsCredentials {
  const { values } = parseProperties(text);
  assertKeys(`-object ${TYPE}`, values, ['id', 'dir', 'endpoint', 'verify-peer']);
  const [id, folder, endpoint] = [values.get('id'), values.get('dir'), values.get('endpoint')];
  if (!id || !folder || (endpoint !== 'client' && endpoint !== 'server'))
    throw new UsageError(`-object ${text}: write ${TYPE},id=tls0,dir=FOLDER,endpoint=client|server[,verify-peer=off]`);
  return { id, folder, endpoint, verifyPeer: parseSwitch(`-object ${TYPE},verify-peer`, values.get('verify-peer') ?? 'on') };
}

function readPem({ id, folder }: TlsCredentials, name: string): Buffer {
  try {
    return readFileSync(join(folder, name));
  } catch (error) {
    throw new UsageError(`-object ${TYPE},id=${id}: ${join(folder, name)}: ${reasonOf(error)}`);
  }
}

/** The certificates and the key of this side, which fit together. */
function filesOf(credentials: TlsCredentials): SecureContextOptions {
  const pem = (name: string): Buffer => readPem(credentials, name);
  const side = credentials.endpoint;
  const files: SecureContextOptions = { ca: pem('ca-cert.pem'), cert: pem(`${side}-cert.pem`), key: pem(`${side}-key.pem`), minVersion: 'TLSv1.2' };
  try {
    createSecureContext(files);
    return files;
  } catch (error) {
    throw new UsageError(`-object ${TYPE},id=${credentials.id}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const ended = (error: unknown): UsageError =>
  new UsageError(`TLS: ${error instanceof Error ? error.message : String(error)}; the machine was not touched`);

function handshaken(socket: TLSSocket): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', (error) => reject(ended(error)));
    socket.once('close', () => reject(ended(new Error('the other side ended the handshake; it does not accept this certificate'))));
  });
}

/** The source's end: the target must have a certificate of our authority, for `hostname`. Throws `UsageError`. */
export async function secureOutgoing(credentials: TlsCredentials, stream: Duplex, hostname: string): Promise<TLSSocket> {
  if (credentials.endpoint !== 'client') throw new UsageError(`tls-creds ${credentials.id}: the source needs endpoint=client`);
  const options: ConnectionOptions = {
    socket: stream,
    ...filesOf(credentials),
    rejectUnauthorized: credentials.verifyPeer,
    ...(/[a-z]/i.test(hostname) && !hostname.includes(':') ? { servername: hostname } : {}),
    host: hostname,
  };
  return handshaken(connect(options));
}

/** The target's end: with `verify-peer` the source must have a certificate of our authority. Throws `UsageError`. */
export async function secureIncoming(credentials: TlsCredentials, stream: Duplex): Promise<TLSSocket> {
  if (credentials.endpoint !== 'server') throw new UsageError(`tls-creds ${credentials.id}: the target needs endpoint=server`);
  const { verifyPeer } = credentials;
  const server = createServer({ ...filesOf(credentials), requestCert: verifyPeer, rejectUnauthorized: verifyPeer });
  return new Promise((resolve, reject) => {
    server.once('secureConnection', resolve);
    server.once('tlsClientError', (error) => reject(ended(error)));
    server.emit('connection', stream);
  });
}
