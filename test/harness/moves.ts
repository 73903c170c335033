// The long way round: a program with threads, children and streams both ways is moved round the nodes
// again and again while it writes and reads as fast as it can; nothing may be lost or doubled.

import type { Ssi } from '@ssi/client';
import { program, startBusy, value } from './busy.ts';
import { runningCopies } from './host-proc.ts';
import { type NumberedReport, numberedOutput } from './numbered.ts';
import { waitUntil } from './wait-until.ts';

export interface MovesResult {
  readonly freezesMs: readonly number[];
  /** The program's own longest gap around each move, ms; only busy.py tells. */
  readonly gapsMs: readonly number[];
  readonly report: NumberedReport;
  readonly copiesWrong: readonly string[];
  readonly exit: { readonly code: number | null; readonly signal: string | null };
}

/** Moves busy.py `count` times round `nodes` while it checks numbered, checksummed input. */
export async function moveBusyProgram(
  ssi: Ssi,
  count: number,
  nodes: readonly number[],
): Promise<MovesResult> {
  const busy = await startBusy(ssi, nodes[0] ?? 1);
  const freezesMs: number[] = [];
  const gapsMs: number[] = [];
  const copiesWrong: string[] = [];
  for (let i = 0; i < count; i++) {
    const startedAt = Date.now() / 1000;
    const moved = value(await ssi.migrate(busy.pid, nodes[(i + 1) % nodes.length] ?? 1));
    freezesMs.push(moved.freezeMs);
    const copies = runningCopies(busy.mark, busy.pid);
    if (copies.length !== 1) copiesWrong.push(`move ${i}: ${copies.length} copies run`);
    await busy.more(50);
    const around = busy.report().gaps.filter((g) => g.at >= startedAt);
    gapsMs.push(Math.max(0, ...around.map((g) => g.ms)));
  }
  const { sent, status } = await busy.finish();
  const report = busy.report();
  if (report.done !== sent) copiesWrong.push(`it read ${report.done} lines of ${sent}`);
  return { freezesMs, gapsMs, report, copiesWrong, exit: status };
}

/** Moves the shell pipeline `count` times; it ends by itself after its last line. */
export async function movePipeline(
  ssi: Ssi,
  count: number,
  nodes: readonly number[],
): Promise<MovesResult> {
  const lines = 600 * count;
  const { pid } = value(
    await ssi.run({
      argv: ['/bin/bash', program('pipeline.sh'), String(lines)],
      env: { PATH: '/usr/bin:/bin' },
      cwd: '/',
      node: nodes[0] ?? 1,
      noInput: true,
    }),
  );
  const output = numberedOutput();
  const ended = (async () => {
    for await (const event of ssi.attach(pid).events()) {
      if (event.type === 'data') output.feed(event.bytes);
      if (event.type === 'exit') return event.status;
    }
    throw new Error('the streams ended without a status');
  })();
  const freezesMs: number[] = [];
  for (let i = 0; i < count; i++) {
    const before = output.report().next.get('p') ?? 0;
    freezesMs.push(value(await ssi.migrate(pid, nodes[(i + 1) % nodes.length] ?? 1)).freezeMs);
    await waitUntil(
      `lines after move ${i}`,
      () => (output.report().next.get('p') ?? 0) > before,
      15_000,
    );
  }
  const exit = await ended;
  const report = output.report();
  const copiesWrong =
    report.next.get('p') === lines ? [] : [`${report.next.get('p')} of ${lines} lines`];
  await ssi.wait(pid);
  return { freezesMs, gapsMs: [], report, copiesWrong, exit };
}

export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (
    sorted[Math.min(sorted.length - 1, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN
  );
}
