// The table of servers this endpoint has called, and the channels to them.
import { findMember, type Incarnation, type Priority, talksIn, type View } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import { Numbered } from './numbered.ts';
import { Paths } from './path.ts';
import type { Call, Channel, Peer } from './pending.ts';
import type { Transport } from './transport.ts';

export interface PeersDeps {
  readonly clock: Clock;
  readonly transports: readonly Transport[];
  readonly view: () => View | undefined;
}

export class Peers {
  readonly #d: PeersDeps;
  readonly #peers = new Map<string, Peer>();
  readonly #byId = new Map<number, Peer>();
  readonly #channels = new Map<number, Channel>();
  #lastId = 0;

  constructor(deps: PeersDeps) {
    this.#d = deps;
  }

  get all(): Iterable<Peer> {
    return this.#peers.values();
  }

  find(node: number, contract: string): Peer | undefined {
    return this.#peers.get(`${node}/${contract}`);
  }

  byId(id: number): Peer | undefined {
    return this.#byId.get(id);
  }

  channel(id: number): Channel | undefined {
    return this.#channels.get(id);
  }

  of(node: number, contract: string): Peer {
    const key = `${node}/${contract}`;
    const known = this.#peers.get(key);
    if (known) return known;
    const peer: Peer = {
      id: ++this.#lastId,
      node,
      contract,
      paths: new Paths(this.#d.transports, node, contract, this.#d.clock.nowMs()),
      bootId: '',
      incarnation: viewIncarnation(this.#d.view(), node),
      versions: undefined,
      channels: [undefined, undefined, undefined, undefined],
      waiting: [[], [], [], []],
      waitingCount: 0,
      hello: undefined,
      probes: new Map(),
    };
    this.#peers.set(key, peer);
    this.#byId.set(peer.id, peer);
    return peer;
  }

  /** `onIdle` is called when its time has come to acknowledge what is finished. */
  open(peer: Peer, priority: Priority, onIdle: (channel: Channel) => void): Channel {
    const channel: Channel = {
      id: ++this.#lastId,
      peer,
      priority,
      bootId: peer.bootId,
      nextSeq: 1,
      slots: new Numbered(),
      toldLowWater: 1,
      ackDue: false,
      dueMs: 0,
      bucket: Number.POSITIVE_INFINITY,
      place: 0,
      done: false,
      fire: () => {
        channel.ackDue = false;
        onIdle(channel);
      },
    };
    peer.channels[priority] = channel;
    this.#channels.set(channel.id, channel);
    return channel;
  }

  forget(channel: Channel): void {
    channel.done = true;
    channel.slots.clear();
    channel.peer.channels[channel.priority] = undefined;
    this.#channels.delete(channel.id);
  }
}

/** The life of a node that the view knows as one to talk to. */
export function viewIncarnation(view: View | undefined, node: number): Incarnation | undefined {
  const member = view && findMember(view, node);
  return member && talksIn(member.state) ? member.incarnation : undefined;
}

/** Calls somebody still waits for: sent ones by priority and number, then waiting ones. */
export function unended(peer: Peer): Call[] {
  const calls: Call[] = [];
  for (const channel of peer.channels)
    for (const call of channel?.slots.values() ?? []) if (!call.settled) calls.push(call);
  for (const queue of peer.waiting) calls.push(...queue);
  return calls;
}
