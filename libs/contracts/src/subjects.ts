// NATS subjects. Requests: ssi.<cluster>.<contract>.v<n>.<dst|all>.<op>.<src>; replies:
// ssi.<cluster>.reply.<dst>.<src>[.<seq>]; <src> and a reply's <dst> are <node>-<service>, of a client
// 0-<principal>.<instance>. The last token of a reply subject tells which request found nobody listening
// (EHOSTUNREACH). What a subject says of its sender the bus vouches for (permissions.ts).
import type { NodeNum } from './ids.ts';

/** Who speaks: a service of a node, or a client (node 0). */
export interface Endpoint {
  readonly node: number;
  /** Of a client: who it is for (`principal` in roles.ts), or a random name on a bus without credentials. */
  readonly service: string;
  /** Of a client: its boot id, as one principal has many at a time. */
  readonly instance?: string | undefined;
}

const token = /^[A-Za-z0-9_-]{1,64}$/;

export function assertToken(text: string): string {
  if (!token.test(text)) throw new Error(`not a subject token: ${JSON.stringify(text)}`);
  return text;
}

export const endpointToken = (e: Endpoint): string =>
  e.instance === undefined ? `${e.node}-${e.service}` : `${e.node}-${e.service}.${e.instance}`;

/** `instance`: of the token behind it, if there is one. */
export function parseEndpoint(text: string | undefined, instance?: string): Endpoint | undefined {
  const m = /^(\d{1,4})-([A-Za-z0-9_]{1,32})$/.exec(text ?? '');
  return m?.[1] && m[2] ? { node: Number(m[1]), service: m[2], instance } : undefined;
}

/** What the subject of a request says of it. */
export interface RequestClaim {
  readonly contract: string;
  readonly op: string;
  readonly from: Endpoint;
}

export function parseRequest(subject: string): RequestClaim | undefined {
  const [, , contract, , , op, source, instance, ...rest] = subject.split('.');
  const from = parseEndpoint(source, instance);
  return from && contract && op && rest.length === 0 ? { contract, op, from } : undefined;
}

export const requestSubject = (q: {
  cluster: string;
  contract: string;
  version: number;
  to: NodeNum | 'all';
  op: string;
  from: Endpoint;
}): string =>
  `ssi.${q.cluster}.${q.contract}.v${q.version}.${q.to}.${q.op}.${endpointToken(q.from)}`;

/** What a server of `contract` on node `to` subscribes to: every version, so that it can answer EPROTONOSUPPORT. */
export const serverSubject = (q: {
  cluster: string;
  contract: string;
  to: NodeNum | 'all';
}): string => `ssi.${q.cluster}.${q.contract}.*.${q.to}.*.>`;

export const replySubject = (cluster: string, to: Endpoint, from: Endpoint): string =>
  `ssi.${cluster}.reply.${endpointToken(to)}.${endpointToken(from)}`;

/** Everything that comes back to one endpoint: replies, and no-responders notices with their tag. */
export const inboxSubject = (cluster: string, to: Endpoint): string =>
  `ssi.${cluster}.reply.${endpointToken(to)}.>`;

/** Of a subject of answers: what all those to the same endpoint begin with, and its node; undefined: it is none. */
export function parseReplyTo(subject: string): { prefix: string; node: number } | undefined {
  const [prefix, node] = /^ssi\.[^.]+\.(?:reply|inbox)\.(\d{1,4})-[^.]+(?=\.)/.exec(subject) ?? [];
  return prefix === undefined ? undefined : { prefix, node: Number(node) };
}

/** Where the bus's own client library gets its answers (JetStream). */
export const libraryInbox = (cluster: string, of: Endpoint): string =>
  `ssi.${cluster}.inbox.${of.node}-${of.service}`;

/** Spans of one trace, for the built-in store. */
export const spanSubject = (cluster: string, traceId: string): string =>
  `ssi.${cluster}.spans.${traceId}`;

/** Membership events for anyone who listens: nodeup, nodedown, step, lost. */
export const eventSubject = (cluster: string, event: string): string =>
  `ssi.${cluster}.event.${event}`;
