// Wires it together: on each node that reaches the file system's folder an instance, of which the one that
// membership names takes it and serves; the others wait for the folder. [OpenSSI: chard,node=1:2]
import {
  type CfsMutation,
  cfs,
  cfsKeyService,
  fail,
  findMember,
  type MemberId,
  ok,
  type ServiceEndpoint,
  type View,
} from '@ssi/contracts';
import { createKeyRole, linkMembership, linkRouter, type RouterLink } from '@ssi/ics';
import {
  type Clock,
  type Handlers,
  type Ics,
  type Log,
  refusals,
  type ServedCall,
  sleep,
} from '@ssi/ports';
import { FileServer } from './file-server.ts';
import type { Place, Taken } from './ports.ts';
import { type RequestId, Store } from './store.ts';

/** How soon a folder that its former server still has is tried for again. */
const retryMs = 20;
const filesystem = 'root';

export interface CfsDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly log: Log;
  readonly place: Place;
  /** This service's own process id, for membership's list. */
  readonly servicePid: number;
  /** Where this service is reached directly, for the node map; empty: by the bus only. */
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  /** Hands the node map over to ICS. Absent: the transport needs none. */
  readonly setMap?: (map: readonly ServiceEndpoint[], revoked?: readonly string[]) => void;
}

export interface CfsService {
  /** Resolves when the life of the node that it was started in is over; it has stopped. */
  readonly outlived: Promise<void>;
  start(): Promise<void>;
  stop(): void;
}

interface Serving extends Taken {
  readonly files: FileServer;
  readonly store: Store;
}

const nodeOf = (client: string): number => Number(client.split('-')[0]);

export function createCfs(deps: CfsDeps): CfsService {
  const { ics, clock, log } = deps;
  const startedMs = clock.nowMs();
  let view: View | undefined;
  let router: RouterLink | undefined;
  let serving: Serving | undefined;
  let taking = false;
  let stopped = false;

  const role = createKeyRole({
    ...{ name: cfsKeyService, ics, clock },
    onEpoch: (epoch) => {
      if (epoch === undefined) leave();
      else void take();
    },
  });

  const isUp = (num: number): boolean =>
    view !== undefined && findMember(view, num)?.state === 'UP';

  /** Until the folder is ours, or somebody else is named. */
  async function take(): Promise<void> {
    if (taking || serving) return;
    taking = true;
    while (!stopped && role.epoch() !== undefined) {
      const taken = deps.place.take();
      if (taken.ok && open(taken.value)) break;
      if (!taken.ok && taken.errno === 'EIO')
        log.error('the folder of the file system cannot be used', { ...taken });
      await sleep(clock, retryMs);
    }
    taking = false;
  }

  function open(taken: Taken): boolean {
    const ms = clock.wallMs();
    const opened = Store.open(taken.journal, filesystem, [Math.floor(ms / 1000), 0]);
    if (!opened.ok) {
      log.error('the file system cannot be opened', { ...opened });
      taken.leave();
      return false;
    }
    const { store, replayed, droppedBytes } = opened.value;
    const files = new FileServer(store, taken.data, () => clock.wallMs());
    serving = { ...taken, store, files };
    // A node that is not UP has no programs; its next life attaches anew.
    files.forget((client) => !isUp(nodeOf(client)));
    log.info('serves the file system', { replayed, droppedBytes, epoch: role.epoch() });
    return true;
  }

  function leave(): void {
    serving?.leave();
    serving = undefined;
  }

  /** `work` on the file system, if it is ours: then nobody else has it, whatever the view says. */
  function on<T>(work: (s: Serving) => T) {
    if (serving) return work(serving);
    return fail('EREMCHG', 'does not serve the file system, or not yet', role.elsewhere());
  }

  /** A client is one of the node that asks. */
  const own = <T>(request: RequestId, call: ServedCall, work: (s: Serving) => T) =>
    nodeOf(request.client) === call.from.node
      ? on(work)
      : fail('EPERM', `${request.client} is not of node ${call.from.node}`);

  const mayChange = (change: CfsMutation, client: string): boolean =>
    change.op !== 'forget' && (!('client' in change) || change.client === client);

  const handlers: Handlers<typeof cfs> = {
    view: (q) => {
      membership.told(q.view, q.self);
      return ok();
    },
    nodedown: ({ dead }) => {
      const nodes = new Set(dead.map((d) => d.num));
      serving?.files.forget((client) => nodes.has(nodeOf(client)));
      return ok({});
    },
    standDown: (q) => role.standDown(q),
    status: () =>
      ok({
        service: cfs.name,
        state: serving ? 'serving' : view ? 'standby' : 'starting',
        uptimeMs: clock.nowMs() - startedMs,
        counters: {
          serving: serving ? 1 : 0,
          inodes: serving?.store.tree.inodes.size ?? 0,
          logBytes: serving?.store.logBytes ?? 0,
          ...refusals(ics),
        },
      }),
    attach: (request, call) =>
      own(request, call, ({ files }) => {
        const { node } = call.from;
        files.forget((client) => nodeOf(client) === node && client !== request.client);
        return ok({});
      }),
    lookup: (q) => on(({ files }) => files.lookup(q)),
    info: ({ ino }) => on(({ files }) => files.info(ino)),
    list: (q) => on(({ files }) => files.list(q)),
    execute: ({ request, change }, call) =>
      own(request, call, ({ files }) =>
        mayChange(change, request.client)
          ? files.execute(request, change)
          : fail('EPERM', 'for another client'),
      ),
    read: (q) => on(({ files }) => files.read(q)),
    write: (q, call) => own(q.request, call, ({ files }) => files.write(q)),
    allocate: (q, call) => own(q.request, call, ({ files }) => files.allocate(q)),
    seek: (q) => on(({ files }) => files.seek(q)),
    sync: (q) => on(({ files }) => files.sync(q)),
    lockHolder: (q) => on(({ files }) => files.lockHolder(q)),
    room: () => on(({ files }) => files.room()),
  };

  let outlive = (): void => {};
  const outlived = new Promise<void>((done) => {
    outlive = done;
  });

  function stop(): void {
    stopped = true;
    membership.stop();
    role.close();
    leave();
    router?.stop();
  }

  function apply(next: View, self: MemberId): void {
    ics.setView(next, self);
    if (!view || next.transid > view.transid) view = next;
    role.told({ view: next, self });
    router?.self(self);
  }

  const membership = linkMembership({
    ...{ ics, clock, servicePid: deps.servicePid, apply },
    onNewLife: () => {
      stop();
      outlive();
    },
  });

  return {
    async start() {
      ics.serve(cfs, handlers, { inWorkMax: 1_024, queueMax: 10_000 });
      if (deps.setMap) router = linkRouter({ ...deps, setMap: deps.setMap });
      await membership.start();
    },
    stop,
    outlived,
  };
}
