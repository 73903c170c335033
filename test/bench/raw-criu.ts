// The peer of the migrate benchmark: raw-criu.py inside two nodes of the cluster, on their networks.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestCluster } from '../harness/cluster.ts';

export type RawMode = 'stream' | 'page-server';
const criu = fileURLToPath(new URL('../../.tools/bin/criu', import.meta.url));
const script = fileURLToPath(new URL('raw-criu.py', import.meta.url));

const enter = (cluster: TestCluster, num: number, ...argv: string[]): ChildProcess => {
  const entry = cluster.file().nodes.find((n) => n.num === num);
  if (!entry) throw new Error(`no node ${num}`);
  const into = ['-t', String(entry.pid), '-m', '-p', '-n', '-i', '-u'];
  return spawn('nsenter', [...into, ...argv], { stdio: ['pipe', 'pipe', 'inherit'] });
};

export interface RawCriu {
  /** Starts a program in the first node, not known to it; its pid there. */
  start(argv: readonly string[]): Promise<number>;
  /** From the first node to the second one, or back. */
  move(mode: RawMode, pid: number, back: boolean): Promise<void>;
  signal(pid: number, signal: string, second: boolean): Promise<void>;
  close(): void;
}

/** `nodes`: both numbers. `dir`: on tmpfs. */
export async function rawCriu(
  cluster: TestCluster,
  nodes: readonly [number, number],
  dir: string,
): Promise<RawCriu> {
  const addressOf = (num: number): string =>
    cluster.file().nodes.find((n) => n.num === num)?.address ?? '';
  const children: ChildProcess[] = [];
  const line = async (child: ChildProcess): Promise<string> => {
    if (!child.stdout) throw new Error('no output');
    const lines = createInterface({ input: child.stdout });
    const [text] = (await once(lines, 'line')) as [string];
    return text;
  };
  const ways = await Promise.all(
    [false, true].map(async (back) => {
      const [from, to] = back ? [nodes[1], nodes[0]] : nodes;
      const way = back ? 'back' : 'there';
      const address = addressOf(to);
      const target = enter(
        cluster,
        to,
        ...['python3', script, 'target', criu, `${dir}/${way}-t`, address],
      );
      const source = enter(
        cluster,
        from,
        ...['python3', script, 'source', criu, `${dir}/${way}-s`],
      );
      children.push(target, source);
      const ports = await line(target);
      target.stdout?.resume();
      if (!source.stdout) throw new Error('no output');
      const answers = createInterface({ input: source.stdout });
      return { source, answers, address, ports };
    }),
  );
  return {
    start: async (argv) => {
      const shell = 'exec 3>&1; setsid "$@" </dev/null >/dev/null 2>&1 3>&- & echo $!';
      const child = enter(cluster, nodes[0], 'sh', '-c', shell, 'sh', ...argv);
      return Number(await line(child));
    },
    move: async (mode, pid, back) => {
      const way = ways[back ? 1 : 0];
      if (!way) throw new Error('no way');
      const answer = once(way.answers, 'line') as Promise<[string]>;
      way.source.stdin?.write(`${mode} ${pid} ${way.address} ${way.ports}\n`);
      const [text] = await answer;
      if (!text.startsWith('ok')) throw new Error(`raw criu, ${mode}: ${text}; see ${dir}`);
    },
    signal: async (pid, signal, second) => {
      const node = nodes[second ? 1 : 0];
      await once(enter(cluster, node, 'kill', `-${signal}`, String(pid)), 'exit');
    },
    close: () => {
      for (const child of children) child.kill('SIGKILL');
    },
  };
}
