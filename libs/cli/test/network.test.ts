// The bridge of a cluster on this machine. Needs root, for interfaces.
import { execFileSync } from 'node:child_process';
import { afterEach, expect, test } from 'vitest';
import { tool } from '../src/up/host.ts';
import { type ClusterNetwork, createNetwork, removeNetwork } from '../src/up/network.ts';

let made: ClusterNetwork | undefined;
afterEach(async () => {
  if (made) await removeNetwork(made);
});

const ip = (...args: string[]): string => execFileSync(tool('ip'), args, { encoding: 'utf8' });
const addressOf = (link: string): string =>
  (JSON.parse(ip('-j', 'link', 'show', link)) as { address: string }[])[0]?.address ?? '';

test.skipIf(process.getuid?.() !== 0)(
  'ssi up: the bus keeps its Ethernet address when the node with the lowest one joins and dies',
  async () => {
    const network = await createNetwork(`network-test-${process.pid}`);
    if (!network.ok) throw new Error(network.detail);
    made = network.value;
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
