// Numbers: none is ever given to two, however often a range comes round and its node starts again; and
// what a tree of processes is to itself is what the cluster's table says, wherever it moved.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, type Ssi } from '@ssi/client';
import { seededRandom } from '@ssi/ports';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster, waitForStates } from '../harness/cluster.ts';
import { type Conversation, talkHere, talkOnCluster } from '../harness/conversation.ts';
import { markedTasks } from '../harness/host-proc.ts';
import { waitUntil } from '../harness/wait-until.ts';

const python = '/usr/bin/python3';
const span = 2_000;
const low = 1 << 16;
const wraps = 100;
const wrapsAfterBoot = 5;
/** Five families of ten: 50 emigrants with 2 threads each, and their parents. */
const families = 5;
const children = 10;
const threads = 2;

describe.skipIf(!canRunNative)('end to end: numbers', { timeout: 240_000 }, () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  beforeAll(async () => {
    cluster = await startCluster({ env: { SSI_TEST_PID_SPAN: String(span) } });
    ssi = value(await connect({ cluster: cluster.name }));
  }, 120_000);
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
  });

  /** Every number in use in the nodes, placeholders and guards left out, as the host's /proc has it. */
  const numbersInUse = (): number[] => {
    const namespaces = new Set(
      cluster
        .file()
        .nodes.flatMap(({ pid }) => readOr(() => [readlinkSync(`/proc/${pid}/ns/pid`)])),
    );
    return readdirSync('/proc').flatMap((pid) => {
      if (!/^\d+$/.test(pid)) return [];
      const isInside = readOr(() => [namespaces.has(readlinkSync(`/proc/${pid}/ns/pid`))])[0];
      if (
        !isInside ||
        readOr(() => [readFileSync(`/proc/${pid}/comm`, 'utf8')])[0] === 'ssi-held\n'
      )
        return [];
      return numbersOf(Number(pid)).filter((n) => n !== 1);
    });
  };
  /** Pid and thread ids of a host process, as its own namespace counts. */
  const numbersOf = (hostPid: number): number[] =>
    readOr(() => readdirSync(`/proc/${hostPid}/task`)).flatMap((tid) =>
      readOr(() => {
        const status = readFileSync(`/proc/${hostPid}/task/${tid}/status`, 'latin1');
        return [Number(/^NSpid:.*?(\d+)$/m.exec(status)?.[1])];
      }),
    );
  const comeRound = async (times: number): Promise<number[]> => {
    const argv = [python, program('wrap.py'), String(times), String(low), String(low + span - 1)];
    const { pid } = value(await ssi.run({ argv, env: {}, cwd: '/', node: 1, noInput: true }));
    let text = '';
    for await (const event of ssi.attach(pid).events())
      if (event.type === 'data') text += Buffer.from(event.bytes).toString();
    expect(value(await ssi.wait(pid))).toMatchObject({ code: 0 });
    expect(text).toMatch(/^done [\d ]+\n$/);
    return text.trim().split(' ').slice(1).map(Number);
  };

  test(`a range of ${span} comes round ${wraps} times and its node boots 3 times: no number twice`, async () => {
    const mark = `SSI_TEST_MARK=family${process.pid}`;
    for (let i = 0; i < families; i++) {
      const argv = [python, program('family.py'), String(children), String(threads)];
      const env = { SSI_TEST_MARK: `family${process.pid}` };
      const family = await talkOnCluster(ssi, 1, argv, env);
      expect(await family.next(30_000)).toBe('ready');
      value(await ssi.migrate(family.pid, 2 + (i % 2)));
      family.close();
    }
    const emigrants = markedTasks(mark).flatMap((task) => numbersOf(task.pid));
    expect(emigrants).toHaveLength(families * (1 + children * (1 + threads)));
    const noneTwice = (given: readonly number[]): void => {
      const away = new Set(emigrants);
      expect(given.filter((n) => away.has(n))).toEqual([]);
      const inUse = numbersInUse();
      expect(inUse.filter((n, i) => inUse.indexOf(n) !== i)).toEqual([]);
      expect(
        markedTasks(mark)
          .flatMap((task) => numbersOf(task.pid))
          .sort(),
      ).toEqual(emigrants.toSorted());
    };
    const given = await comeRound(wraps);
    // Half of the range is used, the emigrants' half: that theirs were not given was no chance.
    expect(given.length).toBeGreaterThan(span / 3);
    expect(Math.max(...given)).toBeGreaterThan(Math.max(...emigrants));
    noneTwice(given);
    for (let boot = 0; boot < 3; boot++) {
      expect((await cluster.ssi('node', 'kill', '1')).code).toBe(0);
      await waitForStates(cluster, { 1: 'DOWN' });
      expect((await cluster.ssi('node', 'start', '1')).code).toBe(0);
      await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' }, 30_000);
      const again = await waitUntil(
        'programs run on it again',
        async () => {
          const reply = await ssi.run({ argv: ['/bin/true'], env: {}, cwd: '/', node: 1 });
          return reply.ok;
        },
        15_000,
        cluster.describe,
      );
      expect(again).toBe(true);
      noneTwice(await comeRound(wrapsAfterBoot));
    }
  });

  /** What each living process says of itself: `K pid ppid pgid sid`, by K. */
  const tell = async (
    talk: Conversation,
    living: Iterable<number>,
  ): Promise<Map<number, number[]>> => {
    const table = new Map<number, number[]>();
    for (const k of living)
      table.set(k, (await talk.ask(`${k} tell`)).split(' ').slice(1).map(Number));
    return table;
  };
  /** The same with each number replaced by whose it is; what is of nobody in the tree is `-`. */
  const byName = (table: ReadonlyMap<number, readonly number[]>): string[] => {
    const names = new Map([...table].map(([k, row]) => [row[0], `p${k}`]));
    // A group or session outlives who led it: named by the number's place among the unknown.
    const name = (n: number): string => names.get(n) ?? '-';
    return [...table].map(([k, row]) => `${k}: ${row.map(name).join(' ')}`);
  };

  test.each([1, 2, 3])(
    'random fork, setsid, setpgid, exit and migrate, seed %i: tables equal',
    async (seed) => {
      const random = seededRandom(seed);
      const pick = <T>(from: readonly T[]): T =>
        from[Math.floor(random.float() * from.length)] as T;
      const argv = [python, program('tree.py')];
      const here = talkHere(argv);
      const there = await talkOnCluster(ssi, 1, argv);
      const living = new Set([0]);
      let next = 1;
      let node = 1;
      let moves = 0;
      for (let step = 0; step < 40; step++) {
        const k = pick([...living]);
        const op = pick([
          'fork',
          'fork',
          'fork',
          'setsid',
          'lead',
          'join',
          'exit',
          'migrate',
        ] as const);
        if (op === 'migrate') {
          const to = pick([1, 2, 3].filter((n) => n !== node));
          value(await ssi.migrate(there.pid, to));
          node = to;
          moves++;
        } else if ((op === 'exit' && k === 0) || (op === 'fork' && next === 24)) continue;
        else {
          const line = {
            fork: ` ${next}`,
            join: ` ${pick([...living])}`,
            exit: ' 3',
            setsid: '',
            lead: '',
          }[op];
          const [one, other] = [
            await here.ask(`${k} ${op}${line}`),
            await there.ask(`${k} ${op}${line}`),
          ];
          expect(other, `step ${step}: ${k} ${op}${line}`).toBe(one);
          if (op === 'fork') living.add(next++);
          if (op === 'exit') living.delete(k);
        }
        if (op !== 'migrate' && step % 10 !== 9) continue;
        const [oracle, told] = [await tell(here, living), await tell(there, living)];
        expect(byName(told), `step ${step}`).toEqual(byName(oracle));
        const rows = [...told.values()].map((row) => row.join(' ')).sort();
        let seen: string[] = [];
        await waitUntil(
          `ssi ps after step ${step}`,
          async () => {
            const all = value(await ssi.ps()).processes;
            const mine = new Set([...told.values()].map(([pid]) => pid));
            const known = (p: { pid: number; sid: number; ppid: number }) =>
              mine.has(p.pid) || mine.has(p.ppid);
            // Its parent is the node: 0 in the table of the cluster, 1 to itself.
            seen = all
              .filter(known)
              .map((p) => `${p.pid} ${p.ppid || 1} ${p.pgid} ${p.sid}`)
              .sort();
            return seen.join() === rows.join();
          },
          10_000,
          () => `ps:\n${seen.join('\n')}\ntold:\n${rows.join('\n')}`,
        );
        expect(value(await ssi.where(there.pid)).node).toBe(node);
      }
      expect(moves).toBeGreaterThan(0);
      for (const [pid = 0] of (await tell(here, living)).values())
        if (pid !== here.pid) process.kill(pid, 'SIGKILL');
      here.close();
      // Those with a session or group of their own too.
      for (const [pid = 0] of (await tell(there, living)).values())
        if (pid !== there.pid) await ssi.kill(pid, 9);
      value(await ssi.kill(there.pid, 9));
      there.close();
    },
  );
});

function readOr<T>(read: () => T[]): T[] {
  try {
    return read();
  } catch {
    return []; // It ended meanwhile.
  }
}
