// Keeps a service known to its node's router and the node map current here: registers, then waits for
// each change of the map. A router that is away only delays news: the map that is known stays in use.
import { ics as contract, type MemberId, type ServiceEndpoint } from '@ssi/contracts';
import { type Clock, type Ics, sleep } from '@ssi/ports';

const retryMs = 100;
const retryMaxMs = 1_000;
const registerMs = 1_000;

export interface RouterLinkOptions {
  readonly ics: Ics;
  readonly clock: Clock;
  /** Where this service listens, best first; empty: bus only. */
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  /** Takes the whole map, each time it changed. */
  readonly setMap: (map: readonly ServiceEndpoint[], revoked?: readonly string[]) => void;
}

export interface RouterLink {
  /** What this node is, by the newest view; registers anew when that changed. Cheap to repeat. */
  self(member: MemberId): void;
  /** Resolves with the first map. */
  readonly registered: Promise<void>;
  stop(): void;
}

export function linkRouter({ ics, clock, tcp, setMap }: RouterLinkOptions): RouterLink {
  const first = Promise.withResolvers<void>();
  /** Grows with each new incarnation and at the end: a loop of an older one stops. */
  let round = 0;
  let bootId = '';
  const { node, service } = ics.self;

  const follow = async (member: MemberId, mine: number): Promise<void> => {
    const request = {
      node,
      service,
      incarnation: member.incarnation,
      bootId: ics.self.bootId,
      tcp: tcp.map((t) => ({ ...t })),
    };
    let waitMs = retryMs;
    while (mine === round) {
      const reply = await ics.call(contract, 'register', node, request, {
        timeoutMs: registerMs,
        waitForServer: true,
      });
      if (mine !== round) return;
      if (reply.ok) {
        waitMs = retryMs;
        setMap(reply.value.map, reply.value.revoked);
        first.resolve();
        await watch(mine);
      }
      await sleep(clock, waitMs);
      waitMs = Math.min(retryMaxMs, 2 * waitMs);
    }
  };

  /** Until the router is away or was restarted. */
  const watch = async (mine: number): Promise<void> => {
    let digest = '';
    while (mine === round) {
      const news = await ics.call(contract, 'watch', node, { service, digest });
      if (mine !== round || !news.ok) return;
      if (news.value.digest !== digest) setMap(news.value.map, news.value.revoked);
      digest = news.value.digest;
    }
  };

  return {
    self: (member) => {
      if (bootId === member.incarnation.bootId) return;
      bootId = member.incarnation.bootId;
      void follow(member, ++round);
    },
    registered: first.promise,
    stop: () => {
      round++;
    },
  };
}
