import assert from 'node:assert/strict';
import { test } from 'vitest';
import {
  goodLink,
  Life,
  SimBus,
  SimClock,
  SimNet,
  SimStore,
  SimStreams,
  simRandom,
} from '../src/index.ts';

const world = (seed = 1) => {
  const clock = new SimClock();
  const net = new SimNet(clock, simRandom(seed, 'net'));
  const bus = new SimBus(net);
  return { clock, net, bus, store: new SimStore(net, bus), streams: new SimStreams(net) };
};

test('SimNet: open links deliver, cut ones lose, held ones deliver when they heal', async () => {
  const { clock, net } = world();
  const came: string[] = [];
  net.setLink(1, 2, 'cut');
  net.setLink(1, 3, 'hold');
  for (const to of [2, 3, 4]) net.send(1, to, () => came.push(`1>${to}`));
  net.send(2, 1, () => came.push('2>1'));
  await clock.run(100);
  assert.deepEqual(came.sort(), ['1>4', '2>1']);
  net.heal();
  await clock.run(200);
  assert.deepEqual(came.sort(), ['1>3', '1>4', '2>1']);
});

test('SimNet: loss, repetition and overtaking happen as often as asked, the same for a seed', async () => {
  const run = async (seed: number): Promise<number[]> => {
    const { clock, net } = world(seed);
    net.setQuality(1, 2, { ...goodLink, lossPart: 0.2, twicePart: 0.1 });
    const came: number[] = [];
    for (let i = 0; i < 1_000; i++) net.send(1, 2, () => came.push(i));
    await clock.run(1_000);
    return came;
  };
  const came = await run(3);
  assert.deepEqual(came, await run(3));
  const distinct = new Set(came).size;
  assert.ok(distinct > 740 && distinct < 860, `${distinct} of 1,000`);
  assert.ok(came.length > distinct, 'some came twice');
  assert.ok(
    came.some((n, i) => n < (came[i - 1] ?? 0)),
    'some overtook',
  );
});

test('SimStore: compare-and-set holds; a lost answer is ETIMEDOUT although it was written', async () => {
  const { clock, net, bus, store } = world();
  const life = new Life({ name: 'n1.x', world: clock });
  const kv = store.client(1, life);
  const one = new Uint8Array([1]);
  const got: unknown[] = [];
  void kv.compareAndSet('k', one, 0).then((r) => got.push(r.ok ? r.value : r.errno));
  await clock.run(10);
  void kv.compareAndSet('k', one, 0).then((r) => got.push(r.ok ? r.value : r.errno));
  await clock.run(20);
  net.setLink(-1, 1, 'cut');
  void kv.compareAndSet('k', one, 1).then((r) => got.push(r.ok ? r.value : r.errno));
  await clock.run(5_000);
  net.heal();
  assert.equal(store.newest('k')?.revision, 2);
  bus.stop();
  void kv.get('k').then((r) => got.push(r.ok ? r.value?.revision : r.errno));
  await clock.run(5_010);
  bus.start();
  store.forgetLast(1);
  void kv.get('k').then((r) => got.push(r.ok ? r.value?.revision : r.errno));
  await clock.run(5_020);
  assert.deepEqual(got, [1, 'EAGAIN', 'ETIMEDOUT', 'EHOSTUNREACH', 1]);
});

test('SimStreams: in order and whole over a bad link, broken by a cut, and by the death of an end', async () => {
  const { clock, net, streams } = world();
  const [a, b] = [1, 2].map((n) => new Life({ name: `n${n}`, world: clock })) as [Life, Life];
  streams.name('10.77.0.2', 2);
  const got: number[] = [];
  let end = '';
  void (async () => {
    const listener = await streams.port(2, b).listen();
    listener.accept('t', (stream) => {
      void (async () => {
        for (let m = await stream.read(); m; m = await stream.read()) got.push(m[0] ?? -1);
        end = 'in good order';
      })().catch(() => {
        end = 'broken';
      });
    });
    const refused = await streams
      .port(1, a)
      .connect({ node: 2, addresses: ['10.77.0.2'], port: listener.port }, 'wrong', 1_000);
    assert.equal(refused.ok ? '' : refused.errno, 'EACCES');
    net.setQuality(1, 2, { ...goodLink, lossPart: 0.3, twicePart: 0.3 });
    const stream = await streams
      .port(1, a)
      .connect({ node: 2, addresses: ['10.77.0.2'], port: listener.port }, 't', 60_000);
    assert.ok(stream.ok);
    for (let i = 0; i < 100; i++) await stream.value.write(new Uint8Array([i]));
    clock.after(20_000, () => a.end());
  })();
  await clock.run(15_000);
  assert.deepEqual(
    got,
    Array.from({ length: 100 }, (_, i) => i),
  );
  assert.equal(end, '');
  await clock.run(60_000);
  assert.equal(end, 'broken');
});
