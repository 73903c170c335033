// 50 memberships, real processes on a real broker over loopback: SIGKILL of one until every other has
// applied the view without it. One kill in three is the master's.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { program } from '@ssi/cli';
import { waitUntil } from '../harness/wait-until.ts';
import { MembershipLog } from './membership-log.ts';
import type { Bench, Row } from './report.ts';

const count = 50;
const root = fileURLToPath(new URL('../..', import.meta.url));
const main = program('services/membership/src/main.ts');
/** Started together: all 50 at once would starve each other of the time that they need to load. */
const waveMax = 5;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (!address || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** What one membership has written of itself. */
interface Member {
  readonly child: ChildProcess;
  readonly log: MembershipLog;
  readonly states: Map<number, { state: string; atMs: number }>;
  master: number;
}

class Members {
  readonly #dir = mkdtempSync(`${tmpdir()}/ssi-members-`);
  /** The nodes' own folders, on a tmpfs as ever: each promise is written there before it is given. */
  readonly #memory = mkdtempSync('/dev/shm/ssi-members-');
  readonly #cluster = `m${process.pid}`;
  readonly all = new Map<number, Member>();
  #nats: ChildProcess | undefined;
  #url = '';

  async open(): Promise<void> {
    const port = await freePort();
    this.#url = `nats://127.0.0.1:${port}`;
    const args = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', `${this.#dir}/js`];
    this.#nats = spawn(`${root}.tools/bin/nats-server`, args, { stdio: 'ignore' });
    for (let num = 1; num <= count; num += waveMax) {
      const wave = Array.from({ length: Math.min(waveMax, count - num + 1) }, (_, i) => num + i);
      for (const n of wave) this.start(n);
      await this.up(wave);
    }
  }

  start(num: number): void {
    const home = `${this.#dir}/n${num}`;
    const memory = `${this.#memory}/n${num}`;
    rmSync(memory, { recursive: true, force: true });
    mkdirSync(home, { recursive: true });
    const path = `${home}/${performance.now()}.log`;
    const log = openSync(path, 'a');
    const child = spawn(process.execPath, [main], {
      stdio: ['ignore', log, log],
      env: {
        PATH: process.env.PATH ?? '',
        SSI_CLUSTER: this.#cluster,
        SSI_NODE: String(num),
        SSI_NATS: this.#url,
        SSI_NODE_DIR: memory,
        SSI_STATE_DIR: `${home}/disk`,
        SSI_ADDRESSES: '127.0.0.1',
        SSI_SERVICES: 'membership',
      },
    });
    closeSync(log);
    this.all.set(num, { child, log: new MembershipLog(path), states: new Map(), master: 0 });
  }

  read(): void {
    for (const [own, m] of this.all)
      for (const line of m.log.read()) {
        if (line.text === 'master') m.master = own;
        if (line.text !== 'transition' || line.num === undefined || !line.to) continue;
        // Gone is gone: KCLEANUP and what follows are told apart by nobody here.
        const state = line.to === 'UP' || line.to === 'COMINGUP' ? line.to : 'gone';
        if (m.states.get(line.num)?.state !== state)
          m.states.set(line.num, { state, atMs: line.atMs });
        if (/^master, term/.test(line.detail ?? '')) m.master = line.num;
      }
  }

  /** Everyone that lives says that these are UP. */
  up(nums: readonly number[]): Promise<boolean> {
    return waitUntil(
      `${nums.join(' ')} UP, as everyone says`,
      () => {
        this.read();
        return [...this.all.values()].every((m) =>
          nums.every((n) => m.states.get(n)?.state === 'UP'),
        );
      },
      120_000,
    );
  }

  /** ms until the last of the others had the view without it. */
  async kill(num: number): Promise<number> {
    const victim = this.all.get(num);
    if (!victim) throw new Error(`no member ${num}`);
    this.read();
    this.all.delete(num);
    const killedMs = Date.now();
    victim.child.kill('SIGKILL');
    await waitUntil(
      `everyone knows that ${num} is gone`,
      () => {
        this.read();
        return [...this.all.values()].every((m) => m.states.get(num)?.state === 'gone');
      },
      30_000,
    );
    return Math.max(...[...this.all.values()].map((m) => m.states.get(num)?.atMs ?? 0)) - killedMs;
  }

  master(): number {
    this.read();
    const said = [...this.all.values()].map((m) => m.master).filter(Boolean);
    return said.at(-1) ?? 1;
  }

  async close(): Promise<void> {
    const children = [...[...this.all.values()].map((m) => m.child), this.#nats];
    const ended = children.map((c) => (c && c.exitCode === null ? once(c, 'exit') : undefined));
    for (const c of children) c?.kill('SIGKILL');
    await Promise.all(ended);
    for (const dir of [this.#dir, this.#memory]) rmSync(dir, { recursive: true, force: true });
  }
}

export const bench: Bench = {
  name: 'members',
  title: `SIGKILL of one of ${count} membership processes to the view without it on every other`,
  async run({ quick, log }): Promise<Row[]> {
    const kills = quick ? 4 : 12;
    const members = new Members();
    try {
      await members.open();
      log(`${count} are UP`);
      const took: number[] = [];
      for (let i = 0; i < kills; i++) {
        const master = members.master();
        const num = i % 3 === 2 ? master : 1 + ((master + 6 * i) % count);
        took.push(await members.kill(num));
        log(`${num === master ? 'master' : 'slave'} ${num}: ${took.at(-1)} ms`);
        members.start(num);
        await members.up([num]);
      }
      const sorted = took.toSorted((a, b) => a - b);
      const worst = sorted.at(-1) ?? Number.NaN;
      const note = `${kills} kills`;
      return [
        { name: 'p50', value: sorted[Math.ceil(kills / 2) - 1] ?? Number.NaN, unit: 'ms', note },
        { name: 'p99', value: worst, unit: 'ms', target: '<= 2000', met: worst <= 2_000, note },
      ];
    } finally {
      await members.close();
    }
  },
};
