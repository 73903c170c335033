import { type NodeState, ok, type View } from '@ssi/contracts';
import { SimClock } from '@ssi/sim';
import { expect, test } from 'vitest';
import { homeNode } from '../src/home-node.ts';

const facts = {
  ...{ addresses: [], cpus: 1, memBytes: 0, kernel: '', arch: '', cpuFlags: [], native: false },
  ...{ heartbeatPorts: { udp: 0, tcp: 0 }, versions: {} },
};
const viewOf = (...states: NodeState[]): View => ({
  ...{ transid: 1, term: 1, master: 1, keyServices: {}, pidBits: 16 },
  members: states.map((state, i) => ({
    ...{ num: i + 1, name: `n${i + 1}`, state, facts },
    incarnation: { bootCount: 1, bootId: `${i}`.repeat(16) },
  })),
});

/** Asked again it is one view further, and stays with the last. */
async function home(wanted: number | undefined, ...views: View[]) {
  const clock = new SimClock();
  let asked = 0;
  const refresh = async () => ok(views[Math.min(asked++, views.length - 1)] ?? viewOf());
  let reply: Awaited<ReturnType<typeof homeNode>> | undefined;
  void homeNode({ clock, seeds: [2] }, { refresh }, wanted).then((r) => {
    reply = r;
  });
  await clock.run(10_000);
  return { reply, asked };
}

test('the node of this process where it is UP, else another one', async () => {
  expect((await home(undefined, viewOf('UP', 'UP'))).reply).toEqual(ok(2));
  expect((await home(undefined, viewOf('UP', 'DOWN'))).reply).toEqual(ok(1));
  expect((await home(undefined, viewOf('DOWN'))).reply).toMatchObject({ errno: 'EHOSTUNREACH' });
});

test('a node that is DOWN, or none of the cluster, is refused at once', async () => {
  for (const wanted of [2, 9])
    expect(await home(wanted, viewOf('UP', 'DOWN'))).toMatchObject({
      reply: { errno: 'EHOSTDOWN' },
      asked: 1,
    });
});

test('a node that is COMINGUP is waited for, and not for ever', async () => {
  const coming = viewOf('UP', 'COMINGUP');
  expect((await home(2, coming, viewOf('UP', 'UP'))).reply).toEqual(ok(2));
  expect(await home(2, coming)).toMatchObject({ reply: { errno: 'EHOSTDOWN' }, asked: 10 });
});
