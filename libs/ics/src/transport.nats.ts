// The bus transport: one subscription for what a service serves, one for what comes back to it. The
// server's "no responders" notice, which names the request by the last token of its reply subject, is
// what EHOSTUNREACH rests on. [NATS: request-reply, no responders]
import { headers, type NatsConnection } from '@nats-io/transport-node';
import {
  type Endpoint,
  inboxSubject,
  parseEndpoint,
  parseRequest,
  replySubject,
  requestSubject,
  serverSubject,
} from '@ssi/contracts';
import { Bundle, tagsOf, unbundle } from './bundle.nats.ts';
import { isSampled } from './trace.ts';
import type { Claim, Outgoing, Receiver, Transport, Via } from './transport.ts';

/** Who may have sent a request: where its answers go, and what its frame must say too. */
interface Sender {
  readonly inbox: string;
  readonly via: Via;
  readonly claim: Claim;
}

/** To one operation of one server, and back. */
interface Route {
  readonly subject: string;
  readonly inbox: string;
  readonly bundle: Bundle;
}

export interface NatsTransportOptions {
  readonly connection: NatsConnection;
  readonly cluster: string;
  readonly self: Endpoint;
}

/** The connection stays its owner's: closing the transport only ends its subscriptions. */
export function natsTransport({ connection, cluster, self }: NatsTransportOptions): Transport {
  let receiver: Receiver | undefined;
  let connected = !connection.isClosed();
  const subscriptions: { unsubscribe(): void }[] = [];
  const ways = new Map<string, Via>();
  const senders = new Map<string, Sender>();
  const routes = new Map<string, Route>();
  const ready = (): boolean => connected && !connection.isClosed();

  const publish = (subject: string, message: Uint8Array, options?: object): void => {
    try {
      if (ready()) connection.publish(subject, message, options);
    } catch {
      // closed or draining: as if it had been lost
    }
  };

  /** Where a call goes and its answer comes, without the tag: few of them, made once. */
  const route = (out: Outgoing): Route => {
    const key = `${out.to}/${out.contract}/${out.version}/${out.op}`;
    const known = routes.get(key);
    if (known) return known;
    const server = { node: out.to, service: out.contract };
    const subject = requestSubject({ ...out, cluster, from: self });
    const inbox = `${replySubject(cluster, self, server)}.`;
    const bundle = new Bundle((message, tags) =>
      publish(subject, message, { reply: inbox + tags }),
    );
    const made = { subject, inbox, bundle };
    routes.set(key, made);
    return made;
  };

  const backTo = (caller: Endpoint): Via => {
    const subject = replySubject(cluster, caller, self);
    const known = ways.get(subject);
    if (known) return known;
    const bundle = new Bundle((message) => publish(subject, message));
    const via: Via = {
      transport: 'nats',
      send: (frame) => {
        if (!ready()) return false;
        bundle.add(frame);
        return true;
      },
    };
    // Clients come and go: their ways are cheap to make again.
    if (ways.size >= 4_096) ways.clear();
    ways.set(subject, via);
    return via;
  };

  /** What the subject of a request says, read once: the same few subjects carry all calls. */
  const senderOf = (subject: string, contract: string): Sender | undefined => {
    const known = senders.get(subject);
    if (known) return known;
    const said = parseRequest(subject);
    if (!said) return undefined;
    const made = {
      inbox: replySubject(cluster, said.from, { node: self.node, service: contract }),
      via: backTo(said.from),
      claim: { ...said.from, ...said },
    };
    if (senders.size >= 4_096) senders.clear();
    senders.set(subject, made);
    return made;
  };

  const watch = async (): Promise<void> => {
    for await (const status of connection.status()) {
      if (!receiver) return;
      if (status.type === 'disconnect') {
        connected = false;
        receiver.broken('nats');
      } else if (status.type === 'reconnect') {
        connected = true;
        receiver.changed('nats');
      }
    }
  };

  return {
    name: 'nats',
    guessMs: 0.4,
    mayDuplicate: false,
    open: (r) => {
      receiver = r;
      const inbox = connection.subscribe(inboxSubject(cluster, self), {
        callback: (error, m) => {
          if (error || !receiver) return;
          const last = m.subject.slice(m.subject.lastIndexOf('.') + 1);
          if (m.headers?.code === 503) {
            for (const tag of tagsOf(last)) receiver.unreachable('nats', tag);
            return;
          }
          const from = parseEndpoint(last);
          // What JetStream delivers on somebody's order has a reply subject; an answer of ICS never has.
          if (from && !m.reply) unbundle(m.data, (frame) => receiver?.frame(frame, noWay, from));
          else receiver.forged?.();
        },
      });
      subscriptions.push(inbox);
      void watch();
    },
    serve: (contract) => {
      const sub = connection.subscribe(serverSubject({ cluster, contract, to: self.node }), {
        callback: (error, m) => {
          if (error || !receiver) return;
          const sender = senderOf(m.subject, contract);
          // The bus vouches for the subject only where its sender published it itself: see above.
          if (!sender || !m.reply?.startsWith(sender.inbox)) receiver.forged?.();
          else unbundle(m.data, (frame) => receiver?.frame(frame, sender.via, sender.claim));
        },
      });
      subscriptions.push(sub);
    },
    ready,
    absent: () => false,
    send: (out: Outgoing) => {
      const { subject, inbox, bundle } = route(out);
      // The frame carries it too: the header is for others, who look at what is kept. [W3C sampled flag]
      if (out.traceparent === undefined || !isSampled(out.traceparent)) {
        bundle.add(out.frame, out.tag);
        return;
      }
      const h = headers();
      h.set('traceparent', out.traceparent);
      publish(subject, out.frame, { reply: inbox + out.tag, headers: h });
    },
    backTo,
    close: async () => {
      receiver = undefined;
      for (const { bundle } of routes.values()) bundle.flush();
      // What was published just before (the last acknowledgements) still goes out.
      if (connected && !connection.isClosed()) await connection.flush().catch(() => {});
      for (const s of subscriptions) s.unsubscribe();
    },
  };
}

const noWay: Via = { transport: 'nats', send: () => false };
