// 1,000 moves in a row of a program with three pipes and a pty, all of them in use: every byte that it sends
// through them, and every line that it writes, comes out once and in order. MOVES asks for another number.
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { percentile } from '../harness/moves.ts';
import { numberedOutput } from '../harness/numbered.ts';
import { waitUntil } from '../harness/wait-until.ts';

const moves = Number(process.env.MOVES ?? 1_000);

describe.skipIf(!canRunNative)(`end to end: ${moves} moves of three pipes and a pty`, () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
  }, 180_000);
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
  });

  test('0 bytes lost or doubled', { timeout: 30_000 + moves * 5_000 }, async () => {
    const { pid } = value(
      await ssi.run({
        argv: ['/usr/bin/python3', program('pipes.py')],
        env: { PATH: '/usr/bin:/bin' },
        cwd: '/',
        node: 1,
      }),
    );
    const output = numberedOutput();
    let totals = '';
    const attachment = ssi.attach(pid, { input: true });
    const ended = (async () => {
      for await (const event of attachment.events()) {
        if (event.type === 'gap') output.feed(`BAD ${event.bytes} bytes gone\n`);
        if (event.type === 'data') {
          const text = Buffer.from(event.bytes).toString('latin1');
          output.feed(text);
          totals = (totals + text).slice(-200);
        }
        if (event.type === 'exit') return event.status;
      }
      throw new Error('the streams ended without a status');
    })();
    ended.catch(() => {});
    const rounds = (): number => output.report().next.get('') ?? 0;
    const freezesMs: number[] = [];
    for (let i = 0; i < moves; i++) {
      const before = rounds();
      freezesMs.push(value(await ssi.migrate(pid, ((i + 1) % 3) + 1)).freezeMs);
      await waitUntil(
        `it goes on after move ${i}`,
        () => rounds() > before,
        15_000,
        () => cluster.describe(),
      );
    }
    value(await attachment.endInput());
    expect(await ended).toMatchObject({ code: 0 });
    const bytes = [...totals.matchAll(/^(ring|pty)-bytes (\d+) (\d+)$/gm)];
    console.log(
      `${moves} moves, freeze p50 ${percentile(freezesMs, 50).toFixed(0)} ms, p99 ${percentile(freezesMs, 99).toFixed(0)} ms; ${bytes.map((b) => b[0]).join(', ')}; ${rounds()} lines`,
    );
    expect(bytes).toHaveLength(2);
    for (const [, , sent, came] of bytes) {
      expect(came).toBe(sent);
      expect(Number(sent)).toBeGreaterThan(moves * 100);
    }
    expect(output.report().wrong.filter((w) => !/(ring|pty)-bytes/.test(w))).toEqual([]);
  });
});
