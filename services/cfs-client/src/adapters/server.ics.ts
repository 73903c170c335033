// The server by ICS, wherever the view says it is. What finds none is asked again until one answers (a `hard`
// mount), under the same number, so that it runs once: numbers are this client's own, and grow.
import {
  type CfsErrno,
  type CfsMutation,
  cfs,
  cfsKeyService,
  fail,
  type IcsErrno,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
  type View,
} from '@ssi/contracts';
import { createKeyCalls } from '@ssi/ics';
import { type Clock, type Ics, sleep } from '@ssi/ports';
import type { Server } from '../ports.ts';

const retryMs = 20;
type Op = Exclude<keyof (typeof cfs)['ops'], 'view' | 'nodedown' | 'standDown' | 'status'>;
type RequestId = RequestOf<(typeof cfs)['ops']['attach']>;

/** It did not run, or perhaps; another may answer. */
const again: ReadonlySet<string> = new Set<IcsErrno | 'EREMCHG'>([
  ...([
    'EAGAIN',
    'EHOSTDOWN',
    'EHOSTUNREACH',
    'ETIMEDOUT',
    'ESTALE',
    'ECANCELED',
    'EREMCHG',
  ] as const),
]);

export interface IcsServer extends Server {
  /** What clients of this node had open before goes; to be done before anything else. */
  attach(): Promise<void>;
  /** Those who wait get EIO. */
  stop(): void;
}

export function icsServer(q: {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly view: () => View | undefined;
  /** This client's name, `NODE-BOOT`. */
  readonly name: string;
}): IcsServer {
  const calls = createKeyCalls({ name: cfsKeyService, ics: q.ics, view: q.view });
  const outstanding = new Set<number>();
  let last = 0;
  let stopped = false;

  async function ask<K extends Op>(
    op: K,
    request: RequestOf<(typeof cfs)['ops'][K]>,
  ): Promise<Reply<ReplyOf<(typeof cfs)['ops'][K]>, CfsErrno>> {
    while (!stopped) {
      const reply = await calls.call(cfs, op, request);
      if (reply.ok) return ok(reply.value as ReplyOf<(typeof cfs)['ops'][K]>);
      if (!again.has(reply.errno)) return fail(reply.errno as CfsErrno, reply.detail);
      await sleep(q.clock, retryMs);
    }
    return fail('EIO', 'the mount is over');
  }

  /** All numbers below the lowest that is under way have been answered. */
  async function once<T>(work: (request: RequestId) => Promise<T>): Promise<T> {
    const id = ++last;
    outstanding.add(id);
    try {
      const [lowest = id] = outstanding;
      return await work({ client: q.name, id, acknowledged: lowest - 1 });
    } finally {
      outstanding.delete(id);
    }
  }

  const one = async <T, U>(reply: Promise<Reply<T, CfsErrno>>, take: (value: T) => U) => {
    const r = await reply;
    return r.ok ? ok(take(r.value)) : r;
  };

  return {
    attach: () => once(async (request) => void (await ask('attach', request))),
    lookup: (parent, name) => ask('lookup', { parent, name }),
    info: (ino) => ask('info', { ino }),
    async list(ino) {
      const all: ReplyOf<(typeof cfs)['ops']['list']>['names'] = [];
      for (;;) {
        const page = await ask('list', { ino, from: all.length });
        if (!page.ok) return page;
        all.push(...page.value.names);
        if (!page.value.more) return ok(all);
      }
    },
    execute: (change) =>
      once((request) => {
        const timed = { ...change, at: [0, 0] } as CfsMutation;
        return ask('execute', { request, change: timed });
      }),
    read: (ino, offset, size) => one(ask('read', { ino, offset, size }), (r) => r.bytes),
    write: (write) => once((request) => one(ask('write', { request, ...write }), (r) => r.written)),
    allocate: (range) => once((request) => ask('allocate', { request, ...range })),
    seek: (ino, offset, what) => one(ask('seek', { ino, offset, what }), (r) => r.offset),
    sync: (ino) => ask('sync', ino === undefined ? {} : { ino }),
    lockHolder: (lock) => ask('lockHolder', lock),
    room: () => ask('room', {}),
    stop() {
      stopped = true;
    },
  };
}
