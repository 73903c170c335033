import assert from 'node:assert/strict';
import { type AttachEvent, createSsi } from '@ssi/client';
import { fail, ok } from '@ssi/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fakeCluster, viewOf } from './fake-cluster.ts';
import { entryOf, fakeProgram } from './fake-program.ts';

const up3 = viewOf(5, { 1: 'UP', 2: 'UP', 3: 'UP' });
const pid = 65_601;
const exited = { pid, code: 0, signal: null };
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (events: readonly AttachEvent[]): string =>
  new TextDecoder().decode(
    Buffer.concat(events.flatMap((e) => (e.type === 'data' ? [e.bytes] : []))),
  );

async function collect(events: AsyncIterable<AttachEvent>): Promise<AttachEvent[]> {
  const found: AttachEvent[] = [];
  for await (const event of events) found.push(event);
  return found;
}

const start = async () => {
  const cluster = await fakeCluster(up3);
  const program = fakeProgram(cluster, pid, 1);
  return { cluster, program, ssi: createSsi(cluster.link) };
};

describe('attach: output', () => {
  test('everything from the start, then the exit, each byte at its offset', async () => {
    const { program, ssi } = await start();
    program.write(bytesOf('one two three '));
    const reading = collect(ssi.attach(pid).events());
    program.write(bytesOf('four'));
    program.end(exited);
    const events = await reading;
    expect(textOf(events)).toBe('one two three four');
    expect(events[0]).toEqual({ type: 'attached', node: 1, tty: false });
    expect(events.at(-1)).toEqual({ type: 'exit', status: exited });
    let next = 0;
    for (const e of events)
      if (e.type === 'data') {
        expect(e.offset).toBe(next);
        next += e.bytes.length;
      }
  });

  test('a process that had ended: its output before its exit, whichever the node tells first', async () => {
    const { program, ssi } = await start();
    program.write(bytesOf('written before anybody came'));
    program.end(exited);
    program.exitFirst = true;
    const events = await collect(ssi.attach(pid).events());
    expect(textOf(events)).toBe('written before anybody came');
    expect(events.at(-1)).toEqual({ type: 'exit', status: exited });
  });

  test('logs without follow ends with what was there', async () => {
    const { program, ssi } = await start();
    program.write(bytesOf('what was there'));
    expect(textOf(await collect(ssi.attach(pid, { follow: false }).events()))).toBe(
      'what was there',
    );
  });

  test('logs without follow of a process that wrote nothing ends at once', async () => {
    const { ssi } = await start();
    expect(await collect(ssi.attach(pid, { follow: false }).events())).toHaveLength(1);
  });

  test('from the end: nothing that was written before', async () => {
    const { program, ssi } = await start();
    program.write(bytesOf('old '));
    const events = ssi.attach(pid, { from: 'end' }).events();
    expect((await events.next()).value).toMatchObject({ type: 'attached' });
    program.write(bytesOf('new'));
    program.end(exited);
    expect(textOf(await collect(events))).toBe('new');
  });

  test('a log that was cut tells how much is missing', async () => {
    const { program, ssi } = await start();
    program.write(bytesOf('0123456789'));
    program.logStart = 4;
    program.end(exited);
    const events = await collect(ssi.attach(pid).events());
    expect(events).toContainEqual({ type: 'gap', stream: 'out', bytes: 4 });
    expect(textOf(events)).toBe('456789');
  });

  test('a move: goes on where it is now, nothing lost or doubled', async () => {
    const { program, ssi } = await start();
    program.write(bytesOf('before '));
    const events = ssi.attach(pid).events();
    const seen: AttachEvent[] = [];
    for await (const event of events) {
      seen.push(event);
      if (textOf(seen) === 'before ' && program.node === 1) {
        program.move(2);
        program.write(bytesOf('after'));
      }
      if (textOf(seen) === 'before after') program.end(exited);
    }
    expect(textOf(seen)).toBe('before after');
    expect(seen.flatMap((e) => (e.type === 'attached' ? [e.node] : []))).toEqual([1, 2]);
  });

  test('its node dies: the status that the origin knows ends it', async () => {
    const { cluster, program, ssi } = await start();
    const status = { pid, code: null, signal: 'SIGKILL', reason: 'EHOSTDOWN' as const };
    program.write(bytesOf('last words'));
    const seen: AttachEvent[] = [];
    program.breaks = [3];
    for await (const event of ssi.attach(pid).events()) {
      seen.push(event);
      if (textOf(seen) === 'last words') {
        cluster.unreachable.add(1);
        cluster.view = viewOf(6, { 1: 'DOWN', 2: 'UP', 3: 'UP' });
        program.exit = status;
        program.write(bytesOf('x')); // wakes the connection, which then breaks
        cluster.handlers['vproc.attach'] = () => fail('ENOENT', 'not here');
      }
    }
    expect(seen.at(-1)).toEqual({ type: 'exit', status });
  });

  test('its node loses its power: no connection closes, and still the end is told', async () => {
    const { cluster, program, ssi } = await start();
    const status = { pid, code: null, signal: 'SIGKILL', reason: 'EHOSTDOWN' as const };
    program.write(bytesOf('last words'));
    const seen: AttachEvent[] = [];
    for await (const event of ssi.attach(pid).events()) {
      seen.push(event);
      if (textOf(seen) !== 'last words') continue;
      cluster.unreachable.add(1);
      cluster.view = viewOf(6, { 1: 'DOWN', 2: 'UP', 3: 'UP' });
      program.exit = status; // known to the surrogate; the connection is left hanging
      cluster.handlers['vproc.attach'] = () => fail('ENOENT', 'not here');
    }
    expect(seen.at(-1)).toEqual({ type: 'exit', status });
  });

  test('its node is excluded and back in another life before anybody looked: goes on where it is now', async () => {
    const { cluster, program, ssi } = await start();
    program.write(bytesOf('one '));
    const events: AttachEvent[] = [];
    for await (const event of ssi.attach(pid).events()) {
      events.push(event);
      if (event.type !== 'data' || event.offset > 0) continue;
      const back = viewOf(9, { 1: 'UP', 2: 'UP', 3: 'UP' });
      const [first, ...others] = back.members;
      assert(first);
      const incarnation = { bootCount: 2, bootId: 'f'.repeat(16) };
      cluster.view = { ...back, members: [{ ...first, incarnation }, ...others] };
      // The connection to node 1 stays open, and nothing comes by it any more.
      const there = fakeProgram(cluster, pid, 2);
      there.write(bytesOf('one two'));
      there.end(exited);
    }
    expect(textOf(events)).toBe('one two');
    expect(events.at(-1)).toEqual({ type: 'exit', status: exited });
  });

  test('ESRCH: no such process; ENOENT: one that has no streams', async () => {
    const { cluster, program, ssi } = await start();
    expect(await collect(ssi.attach(65_999).events())).toMatchObject([
      { type: 'failed', failure: { errno: 'ESRCH' } },
    ]);
    cluster.handlers['vproc.where'] = () => ok({ entry: entryOf(program) });
    cluster.handlers['vproc.attach'] = () => fail('ENOENT', 'not started by run');
    expect(await collect(ssi.attach(pid).events())).toMatchObject([
      { type: 'failed', failure: { errno: 'ENOENT' } },
    ]);
  });

  test('a process that was reaped is still found by its log', async () => {
    const { cluster, program, ssi } = await start();
    program.write(bytesOf('left behind'));
    program.node = 3;
    cluster.handlers['vproc.where'] = () => fail('ESRCH', 'reaped');
    const attach = cluster.handlers['vproc.attach'] as unknown as (r: object, n: number) => unknown;
    cluster.handlers['vproc.attach'] = (request, at) =>
      at === 3 ? attach(request, at) : fail('ENOENT', 'not here');
    const events = await collect(ssi.attach(pid, { follow: false }).events());
    expect(textOf(events)).toBe('left behind');
  });

  test('nobody lets it in for 30 s: it gives up with the reason, it does not hang', async () => {
    const { cluster, program, ssi } = await start();
    cluster.handlers['vproc.where'] = () => ok({ entry: entryOf(program) });
    cluster.handlers['vproc.attach'] = () => fail('EAGAIN', 'busy');
    expect(await collect(ssi.attach(pid).events())).toMatchObject([
      { type: 'failed', failure: { errno: 'EAGAIN' } },
    ]);
  });
});

describe('attach: input', () => {
  test('endInput resolves only when every byte is promised', async () => {
    const { program, ssi } = await start();
    const attached = ssi.attach(pid, { input: true });
    const reading = collect(attached.events());
    expect(await attached.write(bytesOf('hello '))).toEqual(ok());
    await attached.write(bytesOf('world'));
    expect(await attached.endInput()).toEqual(ok());
    expect(new TextDecoder().decode(new Uint8Array(program.input))).toBe('hello world');
    program.end(exited);
    await reading;
    expect(program.inputEnd).toBe(11);
    expect(await attached.write(bytesOf('x'))).toMatchObject({ errno: 'EPIPE' });
  });

  test('it begins behind what another writer left', async () => {
    const { program, ssi } = await start();
    program.input.push(...bytesOf('earlier '));
    const attached = ssi.attach(pid, { input: true });
    const reading = collect(attached.events());
    await attached.write(bytesOf('later'));
    await attached.endInput();
    expect(new TextDecoder().decode(new Uint8Array(program.input))).toBe('earlier later');
    program.end(exited);
    await reading;
  });

  test('closing ends a write that waits, with EPIPE', async () => {
    const { program, cluster, ssi } = await start();
    cluster.handlers['vproc.attach'] = () => new Promise(() => {}); // never answers
    const attached = ssi.attach(pid, { input: true });
    const reading = collect(attached.events());
    const writing = attached.write(new Uint8Array(2 * 1024 * 1024));
    attached.close();
    expect(await writing).toMatchObject({ errno: 'EPIPE' });
    await reading;
    expect(program.input).toEqual([]);
  });

  test('any pattern of broken connections and moves loses and doubles nothing, either way', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 12 }),
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 12 }),
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 4 }),
        async (breaks, outputs, inputs, moves) => {
          const { program, ssi } = await start();
          program.breaks = [...breaks];
          const attached = ssi.attach(pid, { input: true });
          const reading = collect(attached.events());
          const writing = (async () => {
            for (const bytes of inputs) await attached.write(bytes);
            await attached.endInput();
          })();
          for (const [i, bytes] of outputs.entries()) {
            program.write(bytes);
            const to = moves[i];
            if (to !== undefined) program.move(to);
            await new Promise((done) => setImmediate(done));
          }
          await writing;
          program.end(exited);
          const events = await reading;
          const got = events.flatMap((e) => (e.type === 'data' ? [...e.bytes] : []));
          expect(got).toEqual(outputs.flatMap((b) => [...b]));
          expect(program.input).toEqual(inputs.flatMap((b) => [...b]));
          expect(events.at(-1)?.type).toBe('exit');
        },
      ),
      { numRuns: 150 },
    );
  });
});
