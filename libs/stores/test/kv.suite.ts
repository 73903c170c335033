// One suite for the Kv port, run on every backend: what makes the memory one worth trusting.
import type { Kv, KvEntry } from '@ssi/ports';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

export interface KvFixture {
  /** Another client of the same store. */
  open(): Promise<Kv>;
  /** The store loses everything. */
  forget(): Promise<void>;
  /** The store stops answering; the returned function brings it back. */
  away(): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (entry: KvEntry | undefined): string | undefined =>
  entry && new TextDecoder().decode(entry.value);

export function kvSuite(name: string, start: () => Promise<KvFixture>): void {
  describe(`stores: Kv on ${name}`, () => {
    let fixture: KvFixture;
    let kv: Kv;
    let other: Kv;
    beforeAll(async () => {
      fixture = await start();
      kv = await fixture.open();
      other = await fixture.open();
    });
    afterAll(async () => {
      await kv?.close();
      await other?.close();
      await fixture?.stop();
    });

    test('a key that was never written is absent', async () => {
      expect(await kv.get('nothing')).toEqual({ ok: true, value: undefined });
    });

    test('compare-and-set creates with 0, replaces with the revision, and another client sees it', async () => {
      const first = await kv.compareAndSet('a', bytes('one'), 0);
      if (!first.ok) throw new Error(first.errno);
      const second = await other.compareAndSet('a', bytes('two'), first.value);
      if (!second.ok) throw new Error(second.errno);
      expect(second.value).toBeGreaterThan(first.value);
      const got = await kv.get('a');
      if (!got.ok) throw new Error(got.errno);
      expect(text(got.value)).toBe('two');
      expect(got.value?.revision).toBe(second.value);
    });

    test('EAGAIN: a lost compare-and-set changes nothing', async () => {
      const first = await kv.compareAndSet('b', bytes('one'), 0);
      if (!first.ok) throw new Error(first.errno);
      expect(await other.compareAndSet('b', bytes('two'), 0)).toMatchObject({ errno: 'EAGAIN' });
      expect(await other.compareAndSet('b', bytes('two'), first.value + 99)).toMatchObject({
        errno: 'EAGAIN',
      });
      const got = await kv.get('b');
      expect(got.ok && text(got.value)).toBe('one');
    });

    test('of clients that race with one revision exactly one wins', async () => {
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          (i % 2 ? kv : other).compareAndSet('race', bytes(`${i}`), 0),
        ),
      );
      expect(results.filter((r) => r.ok)).toHaveLength(1);
      expect(results.filter((r) => !r.ok && r.errno === 'EAGAIN')).toHaveLength(19);
    });

    test('watch tells the present value and each later one in order, until stopped', async () => {
      const first = await kv.compareAndSet('w', bytes('0'), 0);
      if (!first.ok) throw new Error(first.errno);
      const seen: string[] = [];
      let wake = (): void => {};
      const watch = other.watch('w', (entry) => {
        seen.push(text(entry) ?? '');
        wake();
      });
      const until = async (n: number): Promise<void> => {
        while (seen.length < n)
          await new Promise<void>((done) => {
            wake = done;
          });
      };
      await until(1);
      let revision = first.value;
      for (const value of ['1', '2', '3']) {
        const r = await kv.compareAndSet('w', bytes(value), revision);
        if (!r.ok) throw new Error(r.errno);
        revision = r.value;
      }
      await until(4);
      watch.stop();
      expect(seen).toEqual(['0', '1', '2', '3']);
    });

    test('a store that forgot is empty, takes writes again, and watches go on', async () => {
      await kv.compareAndSet('f', bytes('before'), 0);
      const seen: (string | undefined)[] = [];
      let wake = (): void => {};
      const watch = other.watch('f', (entry) => {
        seen.push(text(entry));
        wake();
      });
      await fixture.forget();
      expect(await kv.get('f')).toEqual({ ok: true, value: undefined });
      expect(await kv.compareAndSet('f', bytes('after'), 0)).toMatchObject({ ok: true });
      while (seen.at(-1) !== 'after')
        await new Promise<void>((done) => {
          wake = done;
        });
      watch.stop();
    });

    test('EHOSTUNREACH or ETIMEDOUT while the store is away; it answers when it is back', async () => {
      await kv.compareAndSet('x', bytes('kept'), 0);
      const back = await fixture.away();
      const get = await kv.get('x');
      expect(get.ok || get.errno).toMatch(/EHOSTUNREACH|ETIMEDOUT/);
      const set = await kv.compareAndSet('y', bytes('no'), 0);
      expect(set.ok || set.errno).toMatch(/EHOSTUNREACH|ETIMEDOUT/);
      await back();
      let again = await kv.get('x');
      for (const deadline = performance.now() + 10_000; !again.ok; again = await kv.get('x'))
        if (performance.now() > deadline) throw new Error('the store did not come back');
        else await new Promise((done) => setTimeout(done, 50));
      expect(text(again.value)).toBe('kept');
    });
  });
}
