// NATS subjects. Requests: ssi.<cluster>.<contract>.v<n>.<dst|all>.<op>.<src>; replies:
// ssi.<cluster>.reply.<dst>.<src>[.<seq>]; <src> and a reply's <dst> are <node>-<service>. The last
// token of a reply subject tells which request found nobody listening (EHOSTUNREACH).
import type { NodeNum } from './ids.ts';

/** Who speaks: a service of a node, or a client (node 0). */
export interface Endpoint {
  readonly node: number;
  readonly service: string;
}

const token = /^[A-Za-z0-9_-]{1,64}$/;

export function assertToken(text: string): string {
  if (!token.test(text)) throw new Error(`not a subject token: ${JSON.stringify(text)}`);
  return text;
}

export const endpointToken = (e: Endpoint): string => `${e.node}-${e.service}`;

export function parseEndpoint(text: string): Endpoint | undefined {
  const m = /^(\d{1,4})-([A-Za-z0-9_]{1,32})$/.exec(text);
  return m?.[1] && m[2] ? { node: Number(m[1]), service: m[2] } : undefined;
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
}): string => `ssi.${q.cluster}.${q.contract}.*.${q.to}.*.*`;

export const replySubject = (cluster: string, to: Endpoint, from: Endpoint): string =>
  `ssi.${cluster}.reply.${endpointToken(to)}.${endpointToken(from)}`;

/** Everything that comes back to one endpoint: replies, and no-responders notices with their tag. */
export const inboxSubject = (cluster: string, to: Endpoint): string =>
  `ssi.${cluster}.reply.${endpointToken(to)}.>`;

/** Spans of one trace, for the built-in store. */
export const spanSubject = (cluster: string, traceId: string): string =>
  `ssi.${cluster}.spans.${traceId}`;

/** Membership events for anyone who listens: nodeup, nodedown, step, lost. */
export const eventSubject = (cluster: string, event: string): string =>
  `ssi.${cluster}.event.${event}`;
