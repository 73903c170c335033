// TLS for direct connections that leave the machine. One port takes both: a TLS connection by its first
// bytes, and a plain one from an address of this machine only. Who connects makes sure that it reached the
// node that was meant; who connected, the hello or the token says.
import { createConnection, type Server, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, TLSSocket } from 'node:tls';
import { type Credential, nodeHost } from '@ssi/contracts';

export interface Encryption {
  readonly cluster: string;
  readonly ca: string;
  readonly key: string | undefined;
  readonly cert: string | undefined;
  /** Addresses that begin so are reached without leaving the machine. */
  readonly machine: string | undefined;
}

/** undefined: nothing of this cluster leaves the machine, or its network is trusted. */
export const encryptionOf = (held: Credential | undefined): Encryption | undefined =>
  held?.encrypt && {
    cluster: held.cluster,
    ca: held.ca,
    key: held.certificate?.key,
    cert: held.certificate?.pem,
    machine: held.encrypt.machine,
  };

/** The host's own end of the nodes' network: what answers there may be on any network. */
const hostPart = '254';

export function leavesMachine(address: string, { machine }: Encryption): boolean {
  if (/^127\.|^localhost$|^::1$/.test(address)) return false;
  return !machine || !address.startsWith(machine) || address === machine + hostPart;
}

interface Dial {
  /** Who must answer, where it is encrypted. */
  readonly node: number;
  readonly host: string;
  readonly port: number;
  readonly allowHalfOpen?: boolean;
  readonly noDelay?: boolean;
  readonly timeout?: number;
}

/** `onOpen`: what is written from then on is read by nobody else. */
export function dial(to: Dial, encryption: Encryption | undefined, onOpen: () => void): Socket {
  if (!encryption || !leavesMachine(to.host, encryption)) {
    const socket = createConnection(to);
    socket.on('connect', onOpen);
    return socket;
  }
  const name = nodeHost(encryption.cluster, to.node);
  const socket = connectTls({
    ...to,
    ca: encryption.ca,
    // Its number is in the certificate, and no address.
    checkServerIdentity: (_, shown) =>
      shown.subject.CN === name ? undefined : new Error(`${shown.subject.CN} answers for ${name}`),
  });
  socket.on('secureConnect', onOpen);
  return socket;
}

/** First bytes of a TLS connection: handshake, version 3.x. [RFC 8446 5.1] */
const isTls = (bytes: Buffer): boolean => bytes[0] === 0x16 && (bytes[1] ?? 3) === 3;
const firstMs = 5_000;

/** Hands each connection over, decrypted; `encryption` absent: as it comes. */
export function welcome(
  server: Server,
  encryption: Encryption | undefined,
  onSocket: (socket: Socket) => void,
): void {
  if (!encryption) {
    server.on('connection', onSocket);
    return;
  }
  const { key, cert } = encryption;
  const secureContext = createSecureContext({
    ...(key !== undefined && { key }),
    ...(cert !== undefined && { cert }),
  });
  server.on('connection', (raw) => {
    raw.on('error', () => {});
    raw.setTimeout(firstMs, () => raw.destroy());
    raw.once('data', (first: Buffer) => {
      raw.setTimeout(0);
      raw.pause();
      raw.unshift(first);
      const from = raw.remoteAddress?.replace(/^::ffff:/, '') ?? '';
      const own = encryption.machine !== undefined && from.startsWith(encryption.machine);
      if (isTls(first)) onSocket(new TLSSocket(raw, { isServer: true, secureContext }));
      else if (own || !leavesMachine(from, encryption)) {
        onSocket(raw);
        raw.resume();
      } else raw.resetAndDestroy();
    });
  });
}
