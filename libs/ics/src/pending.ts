// The caller's state: a Call from issue to end, the Channel that numbers it, the Peer it goes to.
// What happens to them is in caller.ts.
import type { Incarnation, Op, Priority, Reply, TransportName } from '@ssi/contracts';
import type { Due } from './deadlines.ts';
import type { Numbered } from './numbered.ts';
import type { Paths } from './path.ts';
import type { RpcSpan } from './trace.ts';
import type { VersionSpan } from './version.ts';

export interface Call extends Due {
  readonly peer: Peer;
  readonly op: string;
  readonly version: number;
  readonly definition: Op;
  readonly priority: Priority;
  readonly body: Uint8Array;
  readonly deadlineMs: number;
  /** Nobody there is no reason to end before the deadline. */
  readonly waits: boolean;
  readonly span: RpcSpan | undefined;
  readonly traceparent: string | undefined;
  readonly settle: (reply: Reply<unknown>) => void;
  readonly onAnswered: ((transid: number) => void) | undefined;
  settled: boolean;
  /** Absent until it is sent for the first time: only then it gets its number. */
  channel: Channel | undefined;
  seq: number;
  /** Of the newest frame sent; -1: none yet. */
  attempt: number;
  /** Frames out of which it may have been run. 0: it certainly did not run. */
  live: number;
  via: TransportName | undefined;
  sentMs: number;
  rtoMs: number;
  /** There was no way at its last turn. */
  stalled: boolean;
  /** The server said it has it. */
  inWork: boolean;
  /** Settled here, but its number is not finished at the server: cancel frames go out until then. */
  cancelUntilMs: number;
}

/** Calls to one life of one server at one priority, numbered without gaps. */
export interface Channel extends Due {
  readonly id: number;
  readonly peer: Peer;
  readonly priority: Priority;
  readonly bootId: string;
  nextSeq: number;
  /** Sent and not finished, by number, in order. */
  readonly slots: Numbered<Call>;
  /** Highest low-water mark the server was told. */
  toldLowWater: number;
  ackDue: boolean;
}

/** A server: one contract on one node. */
export interface Peer {
  readonly id: number;
  readonly node: number;
  readonly contract: string;
  readonly paths: Paths;
  /** Empty: unknown, or in doubt; calls wait for `welcome`. */
  bootId: string;
  incarnation: Incarnation | undefined;
  /** What this life of it serves, as its `welcome` said. */
  versions: VersionSpan | undefined;
  readonly channels: (Channel | undefined)[];
  /** Not sent yet, by priority. */
  readonly waiting: Call[][];
  waitingCount: number;
  hello: Hello | undefined;
  /** Hellos that only ask how a way is, by transport. */
  readonly probes: Map<TransportName, { attempt: number; sentMs: number }>;
}

export interface Hello extends Due {
  /** Answers to earlier ones do not count. */
  readonly firstAttempt: number;
  attempt: number;
  sentMs: number;
  rtoMs: number;
  /** Pause before the next one when there is no way, ms. */
  retryMs: number;
  via: TransportName | undefined;
}

export const lowWater = (channel: Channel): number => channel.slots.first ?? channel.nextSeq;

const finishedPairsMax = 8;

/** Numbers above the low-water mark that are finished, as pairs; looks at the oldest open ones only. */
export function finished(channel: Channel): number[] {
  const pairs: number[] = [];
  let from = 0;
  let seen = 0;
  for (const [seq] of channel.slots) {
    if (from > 0 && seq > from) pairs.push(from, seq);
    from = seq + 1;
    if (++seen > finishedPairsMax) break;
  }
  return pairs;
}
