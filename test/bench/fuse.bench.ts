// What libs/fuse costs: its passthrough of a directory beside the same in C (libfuse's passthrough_ll, built
// from Debian's package for the run), beside the directory itself; and its tree in memory. In turns, medians.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { debianPrograms } from '../harness/debian-programs.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { type Bench, median, type Row } from './report.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const serve = here('../../libs/fuse/test/serve.ts');
const operations = here('file-operations.ts');
const node = [process.execPath, '--no-warnings'];
const startMs = 20_000;

interface Server {
  /** The mount, reached from outside its namespace. */
  readonly path: string;
  stop(): Promise<void>;
}

/** `command` mounts on the folder that it is given, in a mount namespace of its own. */
async function start(command: (target: string) => readonly string[], env = {}): Promise<Server> {
  const target = mkdtempSync(join(tmpdir(), 'ssi-fuse-bench-'));
  const args = ['--mount', '--propagation', 'private', ...command(target)];
  const child = spawn('unshare', args, { stdio: 'ignore', env: { ...process.env, ...env } });
  const ended = new Promise<void>((done) => child.once('exit', () => done()));
  const mounted = () => readFileSync(`/proc/${child.pid}/mountinfo`, 'utf8').includes(target);
  await waitUntil(`a mount on ${target}`, mounted, startMs);
  return {
    path: `/proc/${child.pid}/root${target}`,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      rmdirSync(target);
    },
  };
}

/** libfuse's own example in C. undefined: it can't be had or built here. */
function buildPassthroughLl(folder: string): { program: string; libraries: string } | undefined {
  const debian = debianPrograms(['libfuse3-dev', 'libfuse3-3']);
  const library = debian?.libraries.split(':')[1];
  if (!debian || library === undefined) return undefined;
  const root = resolve(library, '../..');
  const program = join(folder, 'passthrough_ll');
  const source = `${root}/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c`;
  const flags = ['-O2', '-w', '-D_FILE_OFFSET_BITS=64', `-I${root}/usr/include/fuse3`, '-pthread'];
  try {
    const all = [...flags, source, '-o', program, `${library}/libfuse3.so.3`];
    execFileSync('gcc', all, { stdio: 'pipe' });
    return { program, libraries: debian.libraries };
  } catch {
    return undefined;
  }
}

type Figures = Record<string, number>;
const measure = (path: string, count: number): Figures =>
  JSON.parse(
    execFileSync(node[0] as string, [...node.slice(1), operations, String(count)], {
      cwd: path,
    }).toString(),
  );

const units: Record<string, string> = { write: 'MB/s', read: 'MB/s', list: 'names/s' };
const titles: Record<string, string> = {
  ...{ create: 'create and close', list: 'list', stat: 'stat', openClose: 'open and close' },
  ...{ unlink: 'unlink', write: 'write 1 MiB each', read: 'read 1 MiB each' },
  random: 'read 4 KiB at random, cached',
};

export const bench: Bench = {
  name: 'fuse',
  title: 'a directory through libs/fuse, and the same through libfuse in C',
  async run({ quick, log }): Promise<Row[]> {
    const folder = mkdtempSync(join(tmpdir(), 'ssi-fuse-bench-'));
    const source = (name: string): string => {
      mkdirSync(join(folder, name));
      return join(folder, name);
    };
    const servers = new Map<string, Server>();
    const paths = new Map<string, string>([['the directory itself', source('plain')]]);
    const add = async (name: string, starting: Promise<Server>): Promise<void> => {
      const server = await starting;
      servers.set(name, server);
      paths.set(name, server.path);
    };
    try {
      const c = buildPassthroughLl(folder);
      if (c)
        await add(
          'libfuse in C',
          start((t) => [c.program, '-f', '-o', `source=${source('c')},cache=auto,timeout=1`, t], {
            LD_LIBRARY_PATH: c.libraries,
          }),
        );
      else log('no libfuse3-dev or gcc here: nothing in C to compare with');
      const ours = (...args: string[]) =>
        start((t) => [...node, serve, args[0] ?? '', t, ...args.slice(1)]);
      await add('ours', ours('passthrough', source('ours')));
      await add('ours, backing files', ours('passthrough', source('backing'), '--backing'));
      await add('ours, in memory', ours('memory'));
      const rounds = new Map([...paths.keys()].map((name) => [name, [] as Figures[]]));
      for (let round = 0; round < (quick ? 1 : 3); round++)
        for (const [name, path] of paths)
          rounds.get(name)?.push(measure(path, quick ? 500 : 3_000));
      return Object.keys(titles).flatMap((key) =>
        [...paths.keys()].map((name) => ({
          name: `${titles[key]}: ${name}`,
          value: median((rounds.get(name) ?? []).map((f) => f[key] ?? Number.NaN)),
          unit: units[key] ?? '/s',
        })),
      );
    } finally {
      for (const server of servers.values()) await server.stop();
      rmSync(folder, { recursive: true });
    }
  },
};
