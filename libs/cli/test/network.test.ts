// The bridge of a cluster on this machine. Needs root, for interfaces.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { tool } from '../src/up/host.ts';
import {
  type ClusterNetwork,
  connectNode,
  createNetwork,
  disconnectNode,
  nodeAddress,
  removeNetwork,
} from '../src/up/network.ts';

let made: ClusterNetwork | undefined;
afterEach(async () => {
  if (made) await removeNetwork(made);
});

async function network(name: string): Promise<ClusterNetwork> {
  const created = await createNetwork(name);
  if (!created.ok) throw new Error(created.detail);
  return created.value;
}
const ip = (...args: string[]): string => execFileSync(tool('ip'), args, { encoding: 'utf8' });
const addressOf = (link: string): string =>
  (JSON.parse(ip('-j', 'link', 'show', link)) as { address: string }[])[0]?.address ?? '';

test.skipIf(process.getuid?.() !== 0)(
  'ssi up: the bus keeps its Ethernet address when the node with the lowest one joins and dies',
  async () => {
    made = await network(`network-test-${process.pid}`);
    const { bridge } = made;
    const before = addressOf(bridge);
    const port = `vt${process.pid}`;
    ip('link', 'add', port, 'address', '02:00:00:00:00:01', 'type', 'veth');
    try {
      ip('link', 'set', port, 'master', bridge, 'up');
      expect(addressOf(bridge)).toBe(before);
    } finally {
      ip('link', 'del', port);
    }
    expect(addressOf(bridge)).toBe(before);
    expect(before).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  },
);

test.skipIf(process.getuid?.() !== 0)(
  'a node that comes back at once is answered: it has the Ethernet address that the others know',
  async () => {
    made = await network(`network-back-${process.pid}`);
    const own = readlinkSync('/proc/self/ns/net');
    for (const life of [1, 2]) {
      const node = spawn('unshare', ['-n', 'sleep', '600']);
      try {
        const pid = node.pid ?? 0;
        await expect.poll(() => readlinkSync(`/proc/${pid}/ns/net`)).not.toBe(own);
        expect(await connectNode(made, 5, pid)).toMatchObject({ ok: true });
        const inside = ['-t', `${pid}`, '-n', tool('ip'), '-j', 'link', 'show', 'eth0'];
        const [link] = JSON.parse(execFileSync('nsenter', inside, { encoding: 'utf8' }));
        const hex = [0, ...nodeAddress(made, 5).split('.').map(Number)];
        const known = hex.map((n) => n.toString(16).padStart(2, '0'));
        expect(link.address, `life ${life}`).toBe(['02', ...known].join(':'));
      } finally {
        node.kill('SIGKILL');
        await once(node, 'exit');
        await disconnectNode(made, 5);
      }
    }
  },
);
