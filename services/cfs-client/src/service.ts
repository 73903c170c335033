// Wires it together: the mount of this node, and a membership that says where the server is. The mount is there
// before the node is UP, so that no program finds its place empty.
import { cfsClient, type MemberId, ok, type ServiceEndpoint, type View } from '@ssi/contracts';
import { linkMembership, linkRouter, type RouterLink } from '@ssi/ics';
import { type Clock, type Handlers, type Ics, type Log, refusals, sleep } from '@ssi/ports';
import { icsServer } from './adapters/server.ics.ts';
import { clusterFilesystem } from './filesystem.ts';
import type { MountPoint } from './ports.ts';

export interface CfsClientDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly log: Log;
  readonly mountPoint: MountPoint;
  readonly servicePid: number;
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  readonly setMap?: (map: readonly ServiceEndpoint[], revoked?: readonly string[]) => void;
}

export interface CfsClientService {
  /** Resolves when the mount, or the life of its node, is over: another is to be started. */
  readonly outlived: Promise<string>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function createCfsClient(deps: CfsClientDeps): CfsClientService {
  const { ics, clock } = deps;
  const startedMs = clock.nowMs();
  let view: View | undefined;
  let router: RouterLink | undefined;
  let mounted: Awaited<ReturnType<MountPoint['mount']>> | undefined;
  const name = `${ics.self.node}-${ics.self.bootId}`;
  const server = icsServer({ ics, clock, name, view: () => view });
  // Requests wait for it: a predecessor's open files are let go before the first of this one's.
  const begun = Promise.withResolvers<void>();
  const fs = clusterFilesystem({ server, name, clock, attached: begun.promise });

  const handlers: Handlers<typeof cfsClient> = {
    view: (q) => {
      membership.told(q.view, q.self);
      return ok();
    },
    locks: () => ok({ held: fs.locks() }),
    // The server ends what the dead had.
    nodedown: () => ok({}),
    status: () =>
      ok({
        service: cfsClient.name,
        state: mounted ? 'mounted' : 'starting',
        uptimeMs: clock.nowMs() - startedMs,
        counters: { ...refusals(ics) },
      }),
  };

  let outlive = (_why: string): void => {};
  const outlived = new Promise<string>((done) => {
    outlive = done;
  });

  function apply(next: View, self: MemberId): void {
    ics.setView(next, self);
    if (!view || next.transid > view.transid) view = next;
    router?.self(self);
  }

  const membership = linkMembership({
    ...{ ics, clock, servicePid: deps.servicePid, apply },
    onNewLife: () => void stop().then(() => outlive('the life of the node is over')),
  });

  async function stop(): Promise<void> {
    membership.stop();
    server.stop();
    router?.stop();
    await mounted?.unmount();
  }

  return {
    async start() {
      ics.serve(cfsClient, handlers, { inWorkMax: 64, queueMax: 1_000 });
      if (deps.setMap) router = linkRouter({ ...deps, setMap: deps.setMap });
      void (async () => {
        while (!view) await sleep(clock, 10);
        await server.attach();
        begun.resolve();
      })();
      mounted = await deps.mountPoint.mount(fs.operations);
      void mounted.gone.then((how) => outlive(`the mount has ended: ${how}`));
      await membership.start();
    },
    stop,
    outlived,
  };
}
