// The bridge of two buses: carries what nodes on one say to nodes that are on the other only. Subjects stay
// as they are, so replies find their way by themselves. One bridge for a pair of buses: two would deliver
// everything twice, and a refusal that comes twice is taken for two. [design: ICS, routers bridge]
//
// The second bus needs no store: what is asked of JetStream there is asked of the first one's. What JetStream
// sends by itself (watches, reading a stream) does not cross: it arrives under the subject it was stored under.
import { headers, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { parseReplyTo, parseRequest } from '@ssi/contracts';

/** The bus with the store is `first`. */
export type Side = 'first' | 'second';

export interface NatsBridge {
  /** On which bus each node is; one that is on both, or on none as far as is known, is left out. */
  setHomes(homes: ReadonlyMap<number, Side>): void;
  counters(): { forwarded: number };
  close(): void;
}

/** Those who ask across at a time; the way back of the one that was silent longest is forgotten first. */
const askersMax = 4_096;

export interface NatsBridgeOptions {
  readonly cluster: string;
  /** Connections of its own, opened with `noEcho`: it must not hear itself. They stay their owner's. */
  readonly first: NatsConnection;
  readonly second: NatsConnection;
  /** A node sent something across: a joining one, or one that founded the cluster, is in no view here yet. */
  readonly onNode: (node: number) => void;
}

const other = (side: Side): Side => (side === 'first' ? 'second' : 'first');

export function natsBridge({ cluster, onNode, ...bus }: NatsBridgeOptions): NatsBridge {
  const homes = new Map<number, { side: Side; requests: Subscription }>();
  /** Where what comes back for whom is waited for, in the order in which they asked last. */
  const askers = new Map<string, Subscription>();
  let forwarded = 0;

  const pass = (m: Msg, to: Side): void => {
    forwarded++;
    const options = {
      ...(m.reply && { reply: m.reply }),
      ...(m.headers && { headers: m.headers }),
    };
    // As it came the client library would leave the bare word "nobody was there" out.
    if (m.headers?.code === 503) options.headers = headers(503, 'No Responders');
    try {
      bus[to].publish(m.subject, m.data, options);
    } catch {
      // Closed: as if it had been lost.
    }
  };

  /** `asker` is on `side`: what comes back for it on the other one is carried there. */
  const awaitAnswers = (asker: string, side: Side): void => {
    const key = `${side} ${asker}`;
    const known = askers.get(key);
    if (known) {
      askers.delete(key);
      askers.set(key, known);
      return;
    }
    const [oldest, its] = [...askers].slice(0, 1)[0] ?? [];
    if (oldest !== undefined && askers.size >= askersMax && askers.delete(oldest))
      its?.unsubscribe();
    const callback = (error: Error | null, m: Msg): void => {
      if (!error) pass(m, side);
    };
    askers.set(key, bus[other(side)].subscribe(`${asker}.>`, { callback }));
  };

  /** What is sent to this subject on `from` is for the other bus. */
  const carry = (subject: string, from: Side): Subscription =>
    bus[from].subscribe(subject, {
      callback: (error, m) => {
        if (error) return;
        const asker = m.reply ? parseReplyTo(m.reply) : undefined;
        if (asker) awaitAnswers(asker.prefix, from);
        // A heartbeat expects no answer.
        const node = asker?.node ?? parseRequest(m.subject)?.from.node;
        if (node) onNode(node);
        pass(m, other(from));
      },
    });

  const bucket = `ssi_${cluster}`;
  const store = [
    '$JS.API.>',
    '$JS.ACK.>',
    '$JS.FC.>',
    `$KV.${bucket}.>`,
    `ssi.${cluster}.spans.*`,
  ].map((subject) => carry(subject, 'second'));

  return {
    setHomes: (next) => {
      for (const [node, { side, requests }] of homes)
        if (next.get(node) !== side && homes.delete(node)) requests.unsubscribe();
      for (const [node, side] of next)
        if (!homes.has(node)) {
          const requests = carry(`ssi.${cluster}.*.*.${node}.*.>`, other(side));
          homes.set(node, { side, requests });
        }
    },
    counters: () => ({ forwarded }),
    close: () => {
      const all = [...store, ...askers.values(), ...[...homes.values()].map((h) => h.requests)];
      for (const subscription of all) subscription.unsubscribe();
    },
  };
}
