// Goes by the router's node map: registers this service with it and waits for each change. A router that
// was restarted knows nobody, so a wait that fails begins with registering again.
import { ics, type ServiceEndpoint } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import type { LocalNode } from './local-node.ts';

const retryMs = 200;

export async function followMap(
  node: LocalNode,
  setMap: (map: readonly ServiceEndpoint[]) => void,
): Promise<void> {
  const { ics: bus, clock, tcp } = node.deps;
  const register = async (): Promise<boolean> => {
    const self = node.self;
    if (!self) return false;
    const endpoint: ServiceEndpoint = {
      node: node.num,
      incarnation: self.incarnation,
      service: 'vproc',
      bootId: bus.self.bootId,
      tcp: tcp.map((t) => ({ ...t })),
    };
    const reply = await bus.call(ics, 'register', node.num, endpoint, { timeoutMs: 1_000 });
    if (reply.ok) setMap(reply.value.map);
    return reply.ok;
  };
  let digest = '';
  let registered = false;
  while (!node.stopped) {
    registered ||= await register();
    const changed = registered
      ? await bus.call(ics, 'watch', node.num, { service: 'vproc', digest })
      : undefined;
    if (changed?.ok) {
      digest = changed.value.digest;
      setMap(changed.value.map);
      continue;
    }
    registered = false;
    digest = '';
    await sleep(clock, retryMs);
  }
}
