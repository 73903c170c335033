// A service and its own membership, on a virtual clock.
import { clms, fail, type MemberId, ok } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { expect, test } from 'vitest';
import { createIcs } from '../src/ics.ts';
import { linkMembership } from '../src/membership-link.ts';
import { life, viewOf } from './view.ts';
import { SimNet, VirtualClock } from './virtual.ts';

const selfIn = (boots: number): MemberId => ({ num: 1, incarnation: life(boots) });

function world(onNewLife?: () => void) {
  const clock = new VirtualClock();
  const random = seededRandom(5);
  const net = new SimNet(clock, random, { drop: 0, duplicate: 0, delayMs: 0 });
  const endpoint = (service: string) =>
    createIcs({ node: 1, service, clock, random, transports: [net.transport(1, service)] });
  const asked: { atMs: number; pid: number }[] = [];
  const membership = { knows: true, boots: 1 };
  endpoint('clms').serve(clms, {
    attach: ({ pid }) => {
      asked.push({ atMs: clock.nowMs(), pid });
      if (!membership.knows) return fail('EAGAIN', 'this life is in no view yet');
      const view = viewOf(asked.length, [1, 'UP', membership.boots]);
      return ok({ view, self: selfIn(membership.boots), leased: true, cluster: 'c' });
    },
  });
  const applied: number[] = [];
  const ics = endpoint('dlm');
  const link = linkMembership({
    ...{ ics, clock, servicePid: 42, ...(onNewLife && { onNewLife }) },
    apply: (view) => {
      applied.push(view.transid);
    },
  });
  return { clock, membership, asked, applied, link };
}

test('it asks until membership answers, and start resolves with the first view', async () => {
  const w = world();
  w.membership.knows = false;
  let started = false;
  void w.link.start().then(() => {
    started = true;
  });
  await w.clock.run(1_450);
  expect([started, w.applied, w.asked.length > 2]).toEqual([false, [], true]);
  w.membership.knows = true;
  await w.clock.run(1_650);
  expect([started, w.applied.length, w.asked.at(-1)?.pid]).toEqual([true, 1, 42]);
});

test('a membership that is silent is asked again; one that tells is not', async () => {
  const w = world();
  void w.link.start();
  await w.clock.run(2_900);
  w.link.told(viewOf(7, [1, 'UP', 1]), selfIn(1));
  await w.clock.run(4_800);
  expect([w.asked.length, w.applied]).toEqual([1, [1, 7]]);
  await w.clock.run(5_600);
  expect(w.asked.length).toBe(2);
});

test('another life of the node is told, and not applied; without one who is told it is applied', async () => {
  let lives = 0;
  const w = world(() => lives++);
  void w.link.start();
  await w.clock.run(1_100);
  w.link.told(viewOf(7, [1, 'UP', 2]), selfIn(2));
  expect([lives, w.applied]).toEqual([1, [1]]);
  const v = world();
  void v.link.start();
  await v.clock.run(1_100);
  v.link.told(viewOf(7, [1, 'UP', 2]), selfIn(2));
  expect(v.applied).toEqual([1, 7]);
});

test('stopped, it asks and applies nothing more', async () => {
  const w = world();
  void w.link.start();
  await w.clock.run(1_100);
  w.link.stop();
  w.link.told(viewOf(7, [1, 'UP', 1]), selfIn(1));
  await w.clock.run(20_000);
  expect([w.asked.length, w.applied]).toEqual([1, [1]]);
});
