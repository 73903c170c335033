// serf, the peer of the nodedeath benchmark: three agents on loopback with its default (LAN) settings,
// one killed at a time. It gossips and suspects, where we hold leases and commit: what compares is the
// time until every survivor says that the node is gone.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { waitUntil } from '../harness/wait-until.ts';

interface Agent {
  readonly child: ChildProcess;
  /** Names it holds to be alive, itself among them. */
  readonly alive: Set<string>;
  /** When it said that a name had failed. */
  readonly failedMs: Map<string, number>;
}

const names = ['s1', 's2', 's3'] as const;
/** Its suspicion lasts some seconds for three nodes. */
const deadlineMs = 60_000;

/** ms from SIGKILL until the last survivor said so, one for each kill. */
export async function serfDetections(kills: number): Promise<number[]> {
  const dir = mkdtempSync(`${tmpdir()}/ssi-serf-`);
  const agents = new Map<string, Agent>();
  try {
    // apt's own user can't write here and it says so; the file comes all the same.
    execFileSync('apt-get', ['download', '-qq', 'serf'], { cwd: dir, stdio: 'ignore' });
    const [deb = ''] = readdirSync(dir);
    execFileSync('dpkg-deb', ['-x', `${dir}/${deb}`, dir]);
    // Loopback is 127.0.0.0/8: a network of this process's own.
    const net = `127.${100 + (process.pid % 100)}.${(process.pid >> 8) % 250}`;
    const address = (name: string): string => `${net}.${names.indexOf(name as 's1') + 1}`;

    const start = (name: string): void => {
      const child = spawn(
        `${dir}/usr/bin/serf`,
        [
          ...[
            'agent',
            `-node=${name}`,
            `-bind=${address(name)}`,
            `-rpc-addr=${address(name)}:7373`,
          ],
          // -join would end the agent if the others don't listen yet.
          '-retry-interval=1s',
          ...names
            .filter((n) => n !== name && agents.has(n))
            .map((n) => `-retry-join=${address(n)}`),
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const agent: Agent = { child, alive: new Set(), failedMs: new Map() };
      createInterface({ input: child.stdout }).on('line', (line) => {
        const [, event, of] = /serf: EventMember(Join|Failed): (\S+)/.exec(line) ?? [];
        if (!event || !of) return;
        if (event === 'Join') agent.alive.add(of);
        else {
          agent.alive.delete(of);
          agent.failedMs.set(of, performance.now());
        }
      });
      agents.set(name, agent);
    };
    const whole = (): boolean => [...agents.values()].every((a) => a.alive.size === names.length);

    for (const name of names) start(name);
    const took: number[] = [];
    for (let i = 0; i < kills; i++) {
      await waitUntil('every agent of serf sees every other', whole, deadlineMs);
      const name = names[i % names.length] ?? 's1';
      const dead = agents.get(name);
      if (!dead) throw new Error(`no agent ${name}`);
      agents.delete(name);
      for (const a of agents.values()) a.failedMs.clear();
      const exited = once(dead.child, 'exit');
      const fromMs = performance.now();
      dead.child.kill('SIGKILL');
      await exited;
      const last = await waitUntil(
        `serf notices that ${name} is gone`,
        () => {
          const times = [...agents.values()].map((a) => a.failedMs.get(name) ?? Infinity);
          return Number.isFinite(Math.max(...times)) && Math.max(...times);
        },
        deadlineMs,
      );
      took.push(last - fromMs);
      start(name);
    }
    return took;
  } finally {
    for (const { child } of agents.values()) child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  }
}
