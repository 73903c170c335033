// How long a move stops a program, by the program's own clock: `ssi migrate` beside raw criu by hand, on the
// same nodes in the same run, at sizes of random memory that was there before the move.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { connect, type Ssi } from '@ssi/client';
import { startCluster, type TestCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { type RawCriu, type RawMode, rawCriu } from './raw-criu.ts';
import { type Bench, median, type Row } from './report.ts';

const modes = ['stream', 'page-server'] as const satisfies readonly RawMode[];
const sizes = (process.env.SSI_BENCH_MB ?? '1,64,256,1024').split(',').map(Number);
const program = fileURLToPath(new URL('../programs/memory.c', import.meta.url));

interface Subject {
  /** One move; which node it is on then does not matter to the caller. */
  move(): Promise<void>;
  /** Makes it say its sum. */
  ask(): Promise<void>;
  end(): Promise<void>;
}

const must = <T>(
  reply: { ok: true; value: T } | { ok: false; errno: string; detail: string },
): T => {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
  return reply.value;
};

async function ours(ssi: Ssi, argv: string[], postCopy: boolean): Promise<Subject> {
  const { pid } = must(await ssi.run({ argv, env: {}, cwd: '/', node: 1, noInput: true }));
  let at = 1;
  return {
    move: async () => {
      at = 3 - at;
      must(await ssi.migrate(pid, at, postCopy ? { postCopy } : {}));
    },
    ask: async () => void must(await ssi.kill(pid, constants.signals.SIGUSR1)),
    end: async () => {
      must(await ssi.kill(pid, constants.signals.SIGKILL));
      must(await ssi.wait(pid));
    },
  };
}

async function theirs(raw: RawCriu, argv: string[], mode: RawMode): Promise<Subject> {
  const pid = await raw.start(argv);
  let second = false;
  return {
    move: async () => {
      await raw.move(mode, pid, second);
      second = !second;
    },
    ask: () => raw.signal(pid, 'USR1', second),
    end: () => raw.signal(pid, 'KILL', second),
  };
}

/** Longest gap around each move, ms. Throws when the memory is not what it was. */
async function measure(subject: Subject, file: string, rounds: number): Promise<number[]> {
  const lines = (): string[] => readOr(file).split('\n');
  const sums = (): string[] => lines().filter((l) => l.startsWith('sum'));
  const sumsAre = (count: number) =>
    waitUntil(`${count} sums in ${file}`, () => sums().length >= count, 120_000);
  await sumsAre(1);
  const gaps: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const startedMs = Date.now();
    await subject.move();
    const movedMs = Date.now();
    await subject.ask();
    await sumsAre(i + 2);
    const around = lines().flatMap((l) => {
      const [word, at, ms] = l.split(' ');
      const began = Number(at);
      return word === 'gap' && began + Number(ms) >= startedMs && began <= movedMs
        ? [Number(ms)]
        : [];
    });
    gaps.push(Math.max(0, ...around));
  }
  await subject.end();
  if (new Set(sums()).size !== 1) throw new Error(`the memory changed: ${sums().join(', ')}`);
  return gaps;
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function atSize(
  q: { ssi: Ssi; raw: RawCriu; binary: string; dir: string },
  mb: number,
  rounds: number,
  log: (line: string) => void,
): Promise<Row[]> {
  const run = async (name: string, start: (argv: string[]) => Promise<Subject>) => {
    const file = `${q.dir}/${name}-${mb}`;
    const gaps = await measure(await start([q.binary, String(mb), file]), file, rounds);
    log(`${mb} MB ${name}: ${gaps.map((g) => g.toFixed(0)).join(' ')} ms`);
    return median(gaps);
  };
  const raws: number[] = [];
  for (const mode of modes) raws.push(await run(mode, (argv) => theirs(q.raw, argv, mode)));
  const raw = Math.min(...raws);
  const value = await run('ssi', (argv) => ours(q.ssi, argv, false));
  const late = await run('post-copy', (argv) => ours(q.ssi, argv, true));
  const factor = mb >= 256 ? 1 : 1.1;
  const [stream = 0, server = 0] = raws;
  return [
    {
      name: `raw criu ${mb} MB`,
      value: raw,
      unit: 'ms',
      note: `stream ${stream.toFixed(0)}, page-server ${server.toFixed(0)}`,
    },
    {
      name: `ssi migrate ${mb} MB`,
      value,
      unit: 'ms',
      target: `<= ${factor} x raw`,
      met: value <= raw * factor,
      note: `${(value / raw).toFixed(2)} x raw`,
    },
    {
      name: `ssi migrate --post-copy ${mb} MB`,
      value: late,
      unit: 'ms',
      ...(mb === 256 ? { target: '<= 150 ms', met: late <= 150 } : {}),
      note: `${(late / raw).toFixed(2)} x raw`,
    },
  ];
}

async function all(
  cluster: TestCluster,
  options: { quick: boolean; log(line: string): void },
): Promise<Row[]> {
  const dir = mkdtempSync(`${tmpdir()}/ssi-migrate-`);
  const images = mkdtempSync('/dev/shm/ssi-migrate-');
  const binary = `${dir}/memory`;
  execFileSync('gcc', ['-O2', '-pthread', '-o', binary, program]);
  const ssi = must(await connect({ cluster: cluster.name }));
  const raw = await rawCriu(cluster, [1, 2], images);
  try {
    const rows: Row[] = [];
    for (const mb of sizes)
      rows.push(
        ...(await atSize({ ssi, raw, binary, dir }, mb, options.quick ? 2 : 6, options.log)),
      );
    return rows;
  } finally {
    raw.close();
    await ssi.close();
    rmSync(dir, { recursive: true, force: true });
    rmSync(images, { recursive: true, force: true });
  }
}

export const bench: Bench = {
  name: 'migrate',
  title: "a program's own longest gap in a move, beside criu by hand",
  run: async (options) => {
    const cluster = await startCluster({ nodes: 2 });
    try {
      return await all(cluster, options);
    } finally {
      await cluster.stop();
    }
  },
};
