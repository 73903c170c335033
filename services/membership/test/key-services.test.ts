// Key services: where the view puts them, and that a successor begins after its predecessor's end.
import { activeInstance, type View } from '@ssi/contracts';
import { afterEach, describe, expect, test } from 'vitest';
import { handover, settled } from '../src/key-services.ts';
import { cleanup, emptyView, join, nodedown, ready, shutdown, takeover } from '../src/view.ts';
import { Cluster } from './cluster.ts';

const life = { bootCount: 1, bootId: 'aaaaaaaaaaaaaaaa' };
const id = (num: number) => ({ num, incarnation: life });
const facts = (keyServices: string[]) => ({
  ...{ addresses: [], cpus: 1, memBytes: 0, kernel: '6', arch: 'x64', cpuFlags: [], versions: {} },
  ...{ native: true, heartbeatPorts: { udp: 0, tcp: 0 }, keyServices },
});
const must = <T>(r: { ok: true; value: T } | { ok: false; errno: string }): T => {
  if (!r.ok) throw new Error(r.errno);
  return r.value;
};
/** UP nodes 1, 2, … with what each offers. */
const up = (...offers: string[][]): View =>
  offers.reduce((v, keys, i) => {
    const q = { num: i + 1, name: 'n', incarnation: life, facts: facts(keys) };
    return must(ready(must(join(v, q)), id(i + 1)));
  }, emptyView(16));
const where = (v: View): Record<string, number> =>
  Object.fromEntries(Object.entries(v.keyServices).map(([name, k]) => [name, k.num]));

describe('CLMS: key services: placement', () => {
  test('the first node UP that offers one gets it and keeps it; the next ones go where there are fewest', () => {
    const v = up(['ipc'], ['ipc', 'lvs'], ['cfs.root', 'ipc', 'lvs']);
    expect(where(v)).toEqual({ ipc: 1, lvs: 2, 'cfs.root': 3 });
    expect(v.keyServices.ipc?.since).toBe(2);
    // Nobody moves because another one could serve as well.
    expect(
      where(
        must(
          ready(
            must(join(v, { num: 4, name: 'n', incarnation: life, facts: facts(['ipc', 'lvs']) })),
            id(4),
          ),
        ),
      ),
    ).toEqual(where(v));
  });

  test('a death: nobody is active until the steps are done, then another one with a newer epoch', () => {
    const v = up(['ipc'], ['ipc'], ['ipc']);
    const dead = [id(1)];
    const out = nodedown(v, dead);
    expect(activeInstance(out, 'ipc')).toBeUndefined();
    const scripts = cleanup(out, dead, 'UCLEANUP');
    expect(activeInstance(scripts, 'ipc')).toBeUndefined();
    const done = cleanup(scripts, dead, 'DOWN');
    const next = activeInstance(done, 'ipc');
    expect(next?.num).not.toBe(1);
    expect(next?.since).toBe(done.transid);
  });

  test('a node that leaves, a takeover: the same; the last one that offers it takes it along', () => {
    const v = up(['ipc'], []);
    const left = must(shutdown(v, id(1)));
    expect(activeInstance(left, 'ipc')).toBeUndefined();
    const over = takeover(v, { term: 2, master: 2, dead: [id(1)] });
    expect(activeInstance(over, 'ipc')).toBeUndefined();
    expect(cleanup(over, [id(1)], 'DOWN').keyServices).toEqual({});
    const kept = takeover(up(['ipc'], []), { term: 2, master: 2, dead: [] });
    expect(kept.keyServices).toEqual(v.keyServices);
  });

  test('a hand-over: asked for in one view, carried out in another; ENOENT, EINVAL, EAGAIN', () => {
    const v = up(['ipc'], ['ipc'], []);
    expect(handover(v, { name: 'lvs' })).toMatchObject({ errno: 'ENOENT' });
    expect(handover(v, { name: 'ipc', to: 3 })).toMatchObject({ errno: 'EINVAL' });
    expect(handover(up(['ipc'], []), { name: 'ipc' })).toMatchObject({ errno: 'EAGAIN' });
    expect(must(handover(v, { name: 'ipc', to: 1 }))).toBe(v);
    const asked = must(handover(v, { name: 'ipc' }));
    expect(asked.keyServices.ipc).toEqual({ num: 1, since: 2, to: 2 });
    expect(handover(asked, { name: 'ipc' })).toMatchObject({ errno: 'EAGAIN' });
    const done = settled(asked, { name: 'ipc', since: 2, stoodDown: true });
    expect(done.keyServices.ipc).toEqual({ num: 2, since: done.transid });
    // It did not stand down, or the other one is gone: the same one, with a new epoch.
    const same = { num: 1, since: asked.transid + 1 };
    expect(settled(asked, { name: 'ipc', since: 2, stoodDown: false }).keyServices.ipc).toEqual(
      same,
    );
    const gone = nodedown(asked, [id(2)]);
    expect(settled(gone, { name: 'ipc', since: 2, stoodDown: true }).keyServices.ipc?.num).toBe(1);
    // Late: another epoch runs, or its node died.
    expect(settled(done, { name: 'ipc', since: 2, stoodDown: true })).toBe(done);
    const dying = nodedown(asked, [id(1)]);
    expect(settled(dying, { name: 'ipc', since: 2, stoodDown: true })).toBe(dying);
  });
});

describe('CLMS: key services: a cluster', () => {
  let cluster: Cluster;
  afterEach(() => {
    for (const n of cluster.nodes.values()) n.membership.stop();
    expect(cluster.faults).toEqual([]);
  });
  const start = async (): Promise<void> => {
    cluster = new Cluster({ services: ['ipc'], keyServices: ['ipc'] });
    for (const n of [1, 2, 3]) await cluster.start(n);
    await cluster.until(() => cluster.allTold([1, 2, 3], '1:UP 2:UP 3:UP'), 3_000, 'all UP');
  };
  const keyOf = (n: number) => cluster.view(n)?.keyServices.ipc;
  const handOver = (n: number, q: object) => cluster.node(n).handlers.get('clms.handover')?.(q, {});

  test('the active node dies: a successor, and only after every survivor acknowledged its steps', async () => {
    await start();
    const first = keyOf(1);
    const victim = first?.num ?? 0;
    const rest = [1, 2, 3].filter((n) => n !== victim);
    cluster.kill(victim);
    await cluster.until(() => rest.every((n) => keyOf(n)?.num !== victim), 5_000, 'a successor');
    for (const n of rest) {
      expect(keyOf(n)?.since).toBeGreaterThan(first?.since ?? 0);
      expect(cluster.node(n).steps.some((s) => s.dead.includes(victim))).toBe(true);
      expect(cluster.told(n)).toContain(`${victim}:DOWN`);
    }
  });

  test('the store forgets a view that a cut-off master alone had applied, and it dies: its transid is not used again', async () => {
    await start();
    const master = cluster.view(1)?.master ?? 0;
    const rest = [1, 2, 3].filter((n) => n !== master);
    // Whoever joined last looks at the store once more.
    await cluster.clock.advance(500);
    const before = cluster.bucket.entries.get('membership');
    if (!before) throw new Error('no record');
    cluster.partition([master], rest);
    const [to] = rest;
    const active = keyOf(master)?.num ?? 0;
    // Committed with the mandate it still has, heard by nobody.
    void handOver(master, { service: 'ipc', to: active === to ? rest[1] : to });
    await cluster.clock.advance(40);
    expect(cluster.view(master)?.transid).toBeGreaterThan(cluster.view(rest[0] ?? 0)?.transid ?? 0);
    cluster.kill(master);
    cluster.bucket.entries.set('membership', before);
    await cluster.until(
      () => rest.every((n) => cluster.told(n).includes(`${master}:DOWN`)),
      5_000,
      'a new master',
    );
    cluster.heal();
    await cluster.start(master);
    await cluster.until(() => cluster.allTold([1, 2, 3], '1:UP 2:UP 3:UP'), 5_000, 'all UP');
  });

  test.each([false, true])(
    'a hand-over waits for the instance to stand down; its master dies: %s',
    async (dies) => {
      await start();
      const from = keyOf(1)?.num ?? 0;
      const master = cluster.view(1)?.master ?? 0;
      if (dies && master === from) {
        const other = [1, 2, 3].find((n) => n !== master);
        await handOver(master, { service: 'ipc', to: other });
      }
      const active = keyOf(master)?.num ?? 0;
      let asked = 0;
      let letGo: (reply: unknown) => void = () => {};
      const gate = new Promise<unknown>((done) => {
        letGo = done;
      });
      cluster.node(active).handlers.set('ipc.standDown', () => {
        asked++;
        return gate;
      });
      const to = [1, 2, 3].find((n) => n !== active && n !== master) ?? 0;
      const reply = handOver(master, { service: 'ipc', to }) as Promise<unknown>;
      await cluster.until(() => asked > 0, 1_000, 'asked to stand down');
      await cluster.clock.advance(1_000);
      expect(keyOf(active)).toMatchObject({ num: active, to });
      if (dies) cluster.kill(master);
      // The next master finds it in the view and asks again.
      if (dies) await cluster.until(() => asked > 1, 3_000, 'asked by the next master');
      letGo({ ok: true, value: {} });
      await cluster.until(() => keyOf(to)?.num === to, 3_000, 'handed over');
      expect(keyOf(to)).not.toHaveProperty('to');
      if (!dies) expect(await reply).toMatchObject({ ok: true, value: { num: to } });
    },
  );
});
