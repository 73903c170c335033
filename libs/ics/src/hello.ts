// How the two ends of a direct connection learn whose it is: each shows its node's certificate and signs
// what both have said. A frame on the connection is then of that node, whatever else it says. Between
// endpoints without certificates (tests, a bus of somebody else's) the greeting only keeps clusters apart.
import {
  createHash,
  createPrivateKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  X509Certificate,
} from 'node:crypto';
import { type Credential, nodeHost } from '@ssi/contracts';
import { decodeBody, encodeBody } from './frame.ts';

/** The other end of a connection: a node, and the certificate it showed. */
export interface Peer {
  readonly node: number;
  readonly serial: string;
}

/** One end's part. `take` gets each frame until it says `open` (with the peer, where it is known) or throws. */
export interface Hello {
  /** What is said first; the server waits. */
  readonly first: Uint8Array | undefined;
  take(frame: Uint8Array): { send?: Uint8Array; open?: true; peer?: Peer };
}

export interface Identity {
  readonly cluster: string;
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
  readonly ca: X509Certificate;
}

/** undefined: it has no certificate. */
export function identityOf(held: Credential | undefined): Identity | undefined {
  if (!held?.certificate) return undefined;
  return {
    cluster: held.cluster,
    certificate: new X509Certificate(held.certificate.pem),
    key: createPrivateKey(held.certificate.key),
    ca: new X509Certificate(held.ca),
  };
}

const version = 'ssi2';
const refuse = (why: string): never => {
  throw new Error(`hello: ${why}`);
};

/** Whose certificate that is, if it is one of this cluster's nodes. */
function nodeOf(me: Identity, shown: X509Certificate): Peer {
  if (!shown.verify(me.ca.publicKey)) refuse('not of our authority');
  const now = Date.now();
  if (now < Date.parse(shown.validFrom) || now > Date.parse(shown.validTo)) refuse('out of date');
  const num = Number(/CN=n(\d{1,4})\./.exec(shown.subject)?.[1]);
  if (!num || shown.subject !== `CN=${nodeHost(me.cluster, num)}`) refuse('not a node of ours');
  return { node: num, serial: shown.serialNumber };
}

interface Said {
  readonly client: Uint8Array;
  readonly server: Uint8Array;
  readonly clientShown: Uint8Array;
  readonly serverShown: Uint8Array;
}

/** What is signed: who speaks, both numbers that were drawn for this connection, both certificates. */
function statement(cluster: string, role: 'client' | 'server', said: Said): Uint8Array {
  const hash = createHash('sha256').update(`${version} ${role} ${cluster}\0`);
  for (const part of [said.client, said.server, said.clientShown, said.serverShown])
    hash.update(String(part.length)).update('\0').update(part);
  return hash.digest();
}

function parts(frame: Uint8Array, count: number): Uint8Array[] {
  const said = decodeBody(frame);
  if (!Array.isArray(said) || said[0] !== version || said.length !== count + 1) refuse('garbage');
  const rest = (said as unknown[]).slice(1);
  if (!rest.every((p) => p instanceof Uint8Array && p.length <= 4_096)) refuse('garbage');
  return rest as Uint8Array[];
}

const isSigned = (statement: Uint8Array, by: X509Certificate, signature: Uint8Array): boolean =>
  verify('sha256', statement, by.publicKey, signature);

function greeting(cluster: string): Buffer {
  return Buffer.from(`ssi1 ${cluster}`);
}

/** The end that connects; `node`: who must answer. */
export function clientHello(cluster: string, me: Identity | undefined, node: number): Hello {
  if (!me) return { first: greeting(cluster), take: () => ({ open: true }) };
  const client = randomBytes(16);
  const clientShown = me.certificate.raw;
  return {
    first: encodeBody([version, client, clientShown]),
    take: (frame) => {
      const [server, serverShown, signature] = parts(frame, 3) as [Buffer, Buffer, Buffer];
      const shown = new X509Certificate(serverShown);
      const peer = nodeOf(me, shown);
      if (peer.node !== node) refuse(`node ${peer.node} answers for ${node}`);
      const said = { client, server, clientShown, serverShown };
      if (!isSigned(statement(cluster, 'server', said), shown, signature)) refuse('not signed');
      const signed = sign('sha256', statement(cluster, 'client', said), me.key);
      return { send: encodeBody([version, signed]), open: true, peer };
    },
  };
}

/** The end that was connected to. */
export function serverHello(cluster: string, me: Identity | undefined): Hello {
  if (!me) {
    const wanted = greeting(cluster);
    return {
      first: undefined,
      take: (frame) => (wanted.equals(frame) ? { open: true } : refuse('another cluster')),
    };
  }
  const server = randomBytes(16);
  const serverShown = me.certificate.raw;
  let asked: { said: Said; shown: X509Certificate; peer: Peer } | undefined;
  return {
    first: undefined,
    take: (frame) => {
      if (!asked) {
        const [client, clientShown] = parts(frame, 2) as [Buffer, Buffer];
        const shown = new X509Certificate(clientShown);
        const said = { client, server, clientShown, serverShown };
        asked = { said, shown, peer: nodeOf(me, shown) };
        const signed = sign('sha256', statement(cluster, 'server', said), me.key);
        return { send: encodeBody([version, server, serverShown, signed]) };
      }
      const [signature] = parts(frame, 1) as [Buffer];
      const right = isSigned(statement(cluster, 'client', asked.said), asked.shown, signature);
      return right ? { open: true, peer: asked.peer } : refuse('not signed');
    },
  };
}
