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
import type { Outgoing, Receiver, Transport, Via } from './transport.ts';

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

  const publish = (subject: string, frame: Uint8Array, options?: object): boolean => {
    if (!connected || connection.isClosed()) return false;
    try {
      connection.publish(subject, frame, options);
      return true;
    } catch {
      return false; // closed or draining: as if the frame had been lost
    }
  };

  const backTo = (caller: Endpoint): Via => {
    const subject = replySubject(cluster, caller, self);
    const known = ways.get(subject);
    if (known) return known;
    const via: Via = { transport: 'nats', send: (frame) => publish(subject, frame) };
    // Clients come and go: their ways are cheap to make again.
    if (ways.size >= 4_096) ways.clear();
    ways.set(subject, via);
    return via;
  };

  const server = (contract: string): Endpoint => ({ node: self.node, service: contract });

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
            receiver.unreachable('nats', last);
            return;
          }
          const from = parseEndpoint(last);
          // What JetStream delivers on somebody's order has a reply subject; an answer of ICS never has.
          if (from && !m.reply) receiver.frame(m.data, noWay, from);
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
          const said = parseRequest(m.subject);
          // The bus vouches for the subject only where its sender published it itself: see above.
          if (!said || !m.reply?.startsWith(replySubject(cluster, said.from, server(contract))))
            receiver.forged?.();
          else receiver.frame(m.data, backTo(said.from), { ...said.from, ...said });
        },
      });
      subscriptions.push(sub);
    },
    ready: () => connected && !connection.isClosed(),
    absent: () => false,
    send: (out: Outgoing) => {
      const subject = requestSubject({ ...out, cluster, from: self });
      const server = { node: out.to, service: out.contract };
      const reply = `${replySubject(cluster, self, server)}.${out.tag}`;
      if (out.traceparent === undefined) {
        publish(subject, out.frame, { reply });
        return;
      }
      const h = headers();
      h.set('traceparent', out.traceparent);
      publish(subject, out.frame, { reply, headers: h });
    },
    backTo,
    close: async () => {
      receiver = undefined;
      // What was published just before (the last acknowledgements) still goes out.
      if (connected && !connection.isClosed()) await connection.flush().catch(() => {});
      for (const s of subscriptions) s.unsubscribe();
    },
  };
}

const noWay: Via = { transport: 'nats', send: () => false };
