// What breaks during a move with large memory: vproc at its points, and in a post-copy move the way to the
// source while memory is still to come. Lost is a process only where that is the rule, and then it is killed:
// in no case does it read memory that is not its own.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Ssi } from '@ssi/client';
import type { FailpointName } from '@ssi/vproc';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster, waitForStates } from '../harness/cluster.ts';
import { markedTasks } from '../harness/host-proc.ts';
import { nftInside } from '../harness/inside-node.ts';
import { type MemoryPrograms, memoryPrograms } from '../harness/memory-program.ts';
import { waitUntil } from '../harness/wait-until.ts';

describe.skipIf(!canRunNative)('large memory, when something breaks', () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  let programs: MemoryPrograms;
  beforeAll(async () => {
    cluster = await startCluster({ env: { SSI_FAILPOINTS: 'file' } });
    ssi = value(await connect({ cluster: cluster.name }));
    programs = memoryPrograms(ssi);
  }, 180_000);
  afterAll(async () => {
    programs?.close();
    await ssi?.close();
    await cluster?.stop();
  });

  const entry = (num: number) => {
    const found = cluster.file().nodes.find((n) => n.num === num);
    if (!found) throw new Error(`no node ${num}`);
    return found;
  };

  const deaths: readonly (readonly [number, FailpointName])[] = [
    [2, 'move.target.restoring'],
    [2, 'move.target.restored'],
    [2, 'move.target.prepared'],
    [1, 'move.source.dumped'],
    [1, 'move.source.committing'],
  ];
  for (const [num, point] of deaths)
    test(`vproc dies at ${point}: it runs on with all of its memory`, {
      timeout: 120_000,
    }, async () => {
      const writing = await programs.start(48, 3_000);
      const inNode = `/proc/${entry(num).pid}/root/run/ssi/node/${cluster.name}`;
      writeFileSync(`${inNode}/failpoints`, `${point}=kill`);
      // Its answer may be lost with who was asked: only what becomes of the process counts.
      await ssi.migrate(writing.pid, 2);
      const mark = `${inNode}/failpoint.${point}`;
      await waitUntil('the point was reached', () => existsSync(mark), 30_000);
      rmSync(`${inNode}/failpoints`, { force: true });
      await writing.check(60_000);
      await writing.end();
    });

  /** Memory comes slowly from now on: a program that is moved post-copy waits for most of it. */
  const slow = (): void => {
    nftInside(cluster, 2, 'add table inet slow');
    nftInside(cluster, 2, 'add chain inet slow in { type filter hook input priority 0 ; }');
    const large = `ip saddr ${entry(1).address} meta length > 1400`;
    nftInside(
      cluster,
      2,
      `add rule inet slow in ${large} limit rate over 4 mbytes/second burst 256 kbytes drop`,
    );
  };
  const senderPid = (): number => {
    for (const pid of readdirSync('/proc').filter((n) => /^\d+$/.test(n)))
      try {
        const argv = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        if (/ssi-ahead\0--post-copy\0/.test(argv) && argv.includes(`/${cluster.name}/`))
          return Number(pid);
      } catch {
        // It ended meanwhile.
      }
    throw new Error('no ssi-ahead');
  };

  const waitsForMemory = ({ pid }: { pid: number }): boolean =>
    readdirSync(`/proc/${pid}/task`).some(
      (tid) => readFileSync(`/proc/${pid}/task/${tid}/wchan`, 'latin1') === 'handle_userfault',
    );

  const breaks: readonly { what: string; act: () => void; mend?: () => Promise<unknown> }[] = [
    { what: 'who sends the memory is killed', act: () => process.kill(senderPid(), 'SIGKILL') },
    {
      what: 'the link is cut without a word',
      act: () => {
        const from = entry(1).address;
        nftInside(cluster, 2, 'add table inet cut');
        for (const [hook, end] of [
          ['input', 'saddr'],
          ['output', 'daddr'],
        ]) {
          nftInside(
            cluster,
            2,
            `add chain inet cut ${hook} { type filter hook ${hook} priority 0 ; }`,
          );
          nftInside(
            cluster,
            2,
            `add rule inet cut ${hook} ip ${end} ${from} meta l4proto tcp drop`,
          );
        }
      },
      mend: async () => nftInside(cluster, 2, 'delete table inet cut'),
    },
    {
      what: 'vproc of the source is killed',
      act: () => process.kill(cluster.servicePid(1, 'vproc'), 'SIGKILL'),
    },
    {
      what: 'vproc of the target is killed',
      act: () => process.kill(cluster.servicePid(2, 'vproc'), 'SIGKILL'),
    },
    {
      what: 'the source dies',
      act: () => process.kill(entry(1).pid, 'SIGKILL'),
      mend: () => cluster.ssi('node', 'start', '1'),
    },
  ];
  for (const { what, act, mend } of breaks)
    test(`post-copy, and ${what}: killed on both nodes, having read nothing wrong`, {
      timeout: 120_000,
    }, async () => {
      await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' });
      const subject = await programs.start(64);
      slow();
      try {
        const moved = ssi.migrate(subject.pid, 2, { postCopy: true });
        await waitUntil(
          'it runs at the target',
          async () => {
            const at = await ssi.where(subject.pid);
            return at.ok && at.value.node === 2 && at.value.phase === 'live';
          },
          30_000,
          cluster.describe,
        );
        // It reads all of its memory: what is not there yet, it waits for.
        await subject.ask();
        await waitUntil(
          'it waits for memory',
          () => markedTasks(subject.mark).some(waitsForMemory),
          15_000,
        );
        expect(subject.sums()).toHaveLength(1);
        act();
        const status = value(await ssi.wait(subject.pid, { timeoutMs: 30_000 }));
        expect(status.signal).toBe('SIGKILL');
        await waitUntil('no copy', () => markedTasks(subject.mark).length === 0, 15_000);
        expect(subject.sums()).toHaveLength(1);
        await moved;
      } finally {
        nftInside(cluster, 2, 'delete table inet slow');
        await mend?.();
      }
    });
});
