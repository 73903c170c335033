// What every transport promises, and what ICS makes of it: one suite for memory, NATS and TCP.
import { ok } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { afterEach, describe, expect, test } from 'vitest';
import { callAll } from '../src/broadcast.ts';
import { createIcs, type IcsEndpoint } from '../src/ics.ts';
import type { Transport, Via } from '../src/transport.ts';
import { echo } from './echo.contract.ts';
import { realClock } from './real-clock.ts';
import { viewOf } from './view.ts';

/** One network of one kind. */
export interface Net {
  /** A transport for an endpoint; `serves` is known beforehand so that a map can be made. */
  transport(node: number, service: string): Promise<Transport>;
  close(): Promise<void>;
}

let seed = 1;

export function transportSuite(name: string, makeNet: () => Promise<Net>): void {
  describe(`ICS: transport ${name}`, () => {
    const cleanups: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (const c of cleanups.splice(0).reverse()) await c();
    });

    const start = async (): Promise<Net> => {
      const net = await makeNet();
      cleanups.push(() => net.close());
      return net;
    };

    const endpoint = async (net: Net, node: number, service: string): Promise<IcsEndpoint> => {
      const ics = createIcs({
        node,
        service,
        clock: realClock,
        random: seededRandom(seed++),
        transports: [await net.transport(node, service)],
        checkReplies: true,
      });
      cleanups.push(() => ics.close());
      return ics;
    };

    interface Got {
      frames: Uint8Array[];
      vias: Via[];
      unreachable: string[];
    }
    const raw = async (net: Net, node: number, service: string) => {
      const transport = await net.transport(node, service);
      const got: Got = { frames: [], vias: [], unreachable: [] };
      const wakers: (() => void)[] = [];
      const wake = (): void => {
        for (const w of wakers.splice(0)) w();
      };
      transport.open({
        frame: (bytes, via) => {
          got.frames.push(Uint8Array.from(bytes));
          got.vias.push(via);
          wake();
        },
        unreachable: (_, tag) => {
          got.unreachable.push(tag);
          wake();
        },
        broken: () => {},
        changed: wake,
      });
      cleanups.push(() => transport.close());
      const until = async (condition: () => boolean): Promise<void> => {
        while (!condition()) await new Promise<void>((done) => wakers.push(done));
      };
      return { transport, got, until };
    };
    const out = (to: number, contract: string, frame: Uint8Array, tag: string) => ({
      to,
      contract,
      version: 1,
      op: 'say',
      frame,
      tag,
    });

    test('carries frames of 0 B to 512 KiB whole, both ways', async () => {
      const net = await start();
      const server = await raw(net, 1, 'echo');
      server.transport.serve('echo');
      const client = await raw(net, 2, 'cli');
      await client.until(() => client.transport.ready(1, 'echo'));
      const sizes = [0, 1, 1_000, 65_536, 512 * 1024];
      for (const size of sizes)
        client.transport.send(out(1, 'echo', new Uint8Array(size).fill(size % 251), `t${size}`));
      await server.until(() => server.got.frames.length === sizes.length);
      expect(server.got.frames.map((f) => f.length)).toEqual(sizes);
      for (const f of server.got.frames) expect(f.every((b) => b === f.length % 251)).toBe(true);
      for (const [i, f] of server.got.frames.entries())
        expect(server.got.vias[i]?.send(f)).toBe(true);
      await client.until(() => client.got.frames.length === sizes.length);
      expect(client.got.frames.map((f) => f.length)).toEqual(sizes);
    });

    test('says which frame found nobody', async () => {
      const net = await start();
      const client = await raw(net, 2, 'cli');
      client.transport.send(out(7, 'echo', new Uint8Array(3), '4_5_6'));
      await client.until(() => client.got.unreachable.length > 0);
      expect(client.got.unreachable).toEqual(['4_5_6']);
    });

    test('says of each of many frames of one moment that it found nobody', async () => {
      const net = await start();
      const client = await raw(net, 2, 'cli');
      const tags = Array.from({ length: 150 }, (_, i) => `4_${i}_0`);
      for (const tag of tags) client.transport.send(out(7, 'echo', new Uint8Array(3), tag));
      await client.until(() => client.got.unreachable.length >= tags.length);
      expect(client.got.unreachable).toEqual(tags);
    });

    test('calls, with results and errnos', async () => {
      const net = await start();
      const server = await endpoint(net, 1, 'echo');
      server.serve(echo, {
        say: ({ n, data }) =>
          n < 0
            ? { ok: false, errno: 'ENOENT', detail: 'negative' }
            : ok({ n, size: data?.length ?? 0 }),
      });
      const client = await endpoint(net, 2, 'cli');
      const data = new Uint8Array(100_000).fill(7);
      const q = { waitForServer: true };
      expect(await client.call(echo, 'say', 1, { n: 5, data }, q)).toEqual({
        ok: true,
        value: { n: 5, size: 100_000 },
      });
      expect(await client.call(echo, 'say', 1, { n: -1 })).toMatchObject({ errno: 'ENOENT' });
      expect(await client.call(echo, 'slow', 1, { n: 1 })).toMatchObject({ errno: 'ENOSYS' });
    });

    test('runs 2,000 calls and messages of one channel in order, each once', async () => {
      const net = await start();
      const seen: number[] = [];
      const told: number[] = [];
      const server = await endpoint(net, 1, 'echo');
      server.serve(
        echo,
        {
          say: async ({ n }) => {
            seen.push(n);
            await Promise.resolve();
            return ok({ n, size: 0 });
          },
          tell: ({ n }) => {
            told.push(n);
            return ok();
          },
        },
        { queueMax: 4_096 },
      );
      const client = await endpoint(net, 2, 'cli');
      const numbers = Array.from({ length: 2_000 }, (_, n) => n);
      const done = numbers.map((n) => {
        client.send(echo, 'tell', 1, { n });
        return client.call(echo, 'say', 1, { n, data: undefined }, { waitForServer: true });
      });
      const replies = await Promise.all(done);
      expect(replies.every((r, n) => r.ok && r.value.n === n)).toBe(true);
      expect(seen).toEqual(numbers);
      expect(told).toEqual(numbers);
    });

    test('a broadcast: what each UP node said, errors by node, and EHOSTDOWN of one that went down', async () => {
      const net = await start();
      const stateOf3 = (transid: number, state: 'UP' | 'DOWN') =>
        viewOf(
          transid,
          [1, 'UP', 1],
          [2, 'UP', 1],
          [3, state, 1],
          [4, 'UP', 1],
          [5, 'DOWN', 1],
          [6, 'COMINGUP', 1],
        );
      const before = stateOf3(1, 'UP');
      const asked: number[] = [];
      const hangs = Promise.withResolvers<void>();
      for (const node of [1, 2, 3, 5, 6]) {
        const server = await endpoint(net, node, 'echo');
        server.serve(echo, {
          say: ({ n }) => {
            asked.push(node);
            if (node === 2) return { ok: false, errno: 'ENOENT', detail: 'not here' };
            if (node !== 3) return ok({ n, size: 0 });
            hangs.resolve();
            return new Promise(() => {});
          },
        });
      }
      const client = await endpoint(net, 0, 'cli');
      client.setView(before);
      const answers = callAll(client, before, echo, 'say', { n: 7 }, { timeoutMs: 30_000 });
      await hangs.promise;
      client.setView(stateOf3(2, 'DOWN'));
      const got = await answers;
      expect([...got].map(([node, r]) => [node, r.ok ? r.value.n : r.errno])).toEqual([
        [1, 7],
        [2, 'ENOENT'],
        [3, 'EHOSTDOWN'],
        [4, 'EHOSTUNREACH'],
      ]);
      expect(asked.sort()).toEqual([1, 2, 3]);
    });

    test('EHOSTUNREACH at once where nobody serves; waitForServer waits for one', async () => {
      const net = await start();
      const client = await endpoint(net, 2, 'cli');
      const nobody = await client.call(echo, 'say', 1, { n: 1 }, { timeoutMs: 500 });
      expect(nobody).toMatchObject({ errno: 'EHOSTUNREACH' });
      const waiting = client.call(echo, 'say', 1, { n: 2 }, { waitForServer: true });
      const server = await endpoint(net, 1, 'echo');
      server.serve(echo, { say: ({ n }) => ok({ n, size: 0 }) });
      expect(await waiting).toMatchObject({ ok: true, value: { n: 2 } });
    });

    test('a restarted server is found again; what its former life may have run is not run again', async () => {
      const net = await start();
      const first = await endpoint(net, 1, 'echo');
      let ran = 0;
      const arrived = Promise.withResolvers<void>();
      first.serve(echo, {
        say: ({ n }) => ok({ n, size: 0 }),
        slow: async () => {
          ran++;
          arrived.resolve();
          return new Promise(() => {});
        },
      });
      const client = await endpoint(net, 2, 'cli');
      await client.call(echo, 'say', 1, { n: 1 }, { waitForServer: true });
      const lost = client.call(echo, 'slow', 1, { n: 1 }, { timeoutMs: 8_000 });
      await arrived.promise;
      await first.close();
      const second = await endpoint(net, 1, 'echo');
      second.serve(echo, {
        say: ({ n }) => ok({ n, size: 0 }),
        slow: ({ n }) => {
          ran++;
          return ok({ n });
        },
      });
      const next = await client.call(echo, 'say', 1, { n: 2 }, { waitForServer: true });
      expect(next).toMatchObject({ ok: true });
      expect(await lost).toMatchObject({ errno: 'ETIMEDOUT' });
      expect(ran).toBe(1);
    });
  });
}
