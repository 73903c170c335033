// Deaths at the phase boundaries of a move, on a real cluster: the move is held at a failpoint, a service
// or a whole node is killed there, and what really runs is counted on the host. One cluster serves for all
// cases: each begins with three nodes UP and a program, born on node 3, that counts on node 1 or 2.
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { Ssi } from '@ssi/client';
import { decidedPoints, type FailpointName, failpoints, rollbackPoints } from '@ssi/vproc';
import { value } from './busy.ts';
import type { TestCluster } from './cluster.ts';
import { waitForStates } from './cluster.ts';
import { type HostTask, markedTasks } from './host-proc.ts';
import { numberedOutput } from './numbered.ts';
import { waitUntil } from './wait-until.ts';

export type Victim = 'source' | 'target' | 'origin';
export interface FaultCase {
  readonly point: FailpointName;
  readonly victim: Victim;
  /** `pause`: everything in the node is stopped until the view is without it, and goes on then. */
  readonly dies: 'vproc' | 'node' | 'pause';
}
export interface FaultResult {
  /** From the verdict (the view without the node; the service's death) to one copy that `ssi ps` shows, ms. */
  readonly settledMs: number;
  readonly lives: boolean;
}

export const movePoints = failpoints.filter((p) => p.startsWith('move.'));
const origin = 3;
/** The target has a whole copy, or all to make one and the order to: it needs the source no more. */
const saved: readonly FailpointName[] = [
  ...decidedPoints,
  'move.source.prepared',
  'move.target.received',
  'move.target.restoring',
  'move.target.restored',
  'move.target.prepared',
];

/** Whether the process outlives it, by the rules: it is lost only with the node that has it. */
export function livesOn({ point, victim, dies }: FaultCase): boolean {
  if (dies === 'vproc' || victim === 'origin') return true;
  return victim === 'target' ? !decidedPoints.includes(point) : saved.includes(point);
}

const counter = '$| = 1; while (1) { print $i++, "\\n"; select(undef, undef, undef, 0.01) }';
let marks = 0;

export class MoveFaults {
  private readonly cluster: TestCluster;
  private readonly ssi: Ssi;
  private pid = 0;
  private mark = '';
  private output = numberedOutput();
  /** What the open attach said beside output. */
  private heard: string[] = [];

  constructor(cluster: TestCluster, ssi: Ssi) {
    this.cluster = cluster;
    this.ssi = ssi;
  }

  async run(c: FaultCase): Promise<FaultResult> {
    await waitForStates(this.cluster, { 1: 'UP', 2: 'UP', 3: 'UP' });
    const from = await this.subject();
    const to = from === 1 ? 2 : 1;
    const at = c.point.startsWith('move.source.') ? from : to;
    await this.hold(c.point, { at, to, move: () => void this.ssi.migrate(this.pid, to) });
    const victim = { source: from, target: to, origin }[c.victim];
    this.disarm();
    const release = (): void => this.release(at, c.point);
    const since = await (c.dies === 'pause'
      ? this.pause(victim, release)
      : this.kill(c.dies, victim, release));
    try {
      const lives = livesOn(c);
      // Woken, its guard kills them.
      if (c.dies === 'pause' && !lives)
        await waitUntil('its copies are killed', () => this.copies().length === 0, 5_000);
      await (lives ? this.oneLives() : this.isLost(victim));
      const settledMs = performance.now() - since;
      if (lives) await this.goesOn();
      await this.nothingLeft(c.dies === 'node' ? victim : 0);
      return { settledMs, lives };
    } catch (error) {
      this.pid = 0; // The next case begins with a new program.
      throw error;
    } finally {
      if (c.dies === 'node') await this.cluster.ssi('node', 'start', String(victim));
    }
  }

  /**
   * `what` happens while the move stands at the point, and is undone when the move has ended: it fails, with an
   * errno that says so, and the program counts on where it was. Gives the reply's text.
   */
  async trouble(
    point: FailpointName,
    what: (from: number, to: number) => () => void,
  ): Promise<{ detail: string; tookMs: number }> {
    await waitForStates(this.cluster, { 1: 'UP', 2: 'UP', 3: 'UP' });
    const from = await this.subject();
    const to = from === 1 ? 2 : 1;
    const at = point.startsWith('move.source.') ? from : to;
    const services = () => [1, 2, 3].map((num) => this.cluster.servicePid(num, 'vproc'));
    const before = services();
    let moved: ReturnType<Ssi['migrate']> | undefined;
    await this.hold(point, { at, to, move: () => (moved = this.ssi.migrate(this.pid, to)) });
    this.disarm();
    const since = performance.now();
    let undo = (): void => {};
    try {
      undo = what(from, to);
    } finally {
      this.release(at, point);
    }
    const reply = await moved;
    const tookMs = performance.now() - since;
    undo();
    if (!reply || reply.ok) throw new Error(`it moved: ${JSON.stringify(reply)}`);
    await this.oneLives();
    if ((await this.placeOf(this.pid)) !== from) throw new Error('it is not where it was');
    if (services().join() !== before.join()) throw new Error('a vproc died of it');
    await this.goesOn();
    await this.nothingLeft(0);
    return { detail: `${reply.errno} ${reply.detail}`, tookMs };
  }

  /** The counting program, on node 1 or 2; a new one where the last was lost. */
  private async subject(): Promise<number> {
    const here = this.pid && (await this.placeOf(this.pid));
    if (here === 1 || here === 2) return here;
    this.mark = `move-faults-${process.pid}-${marks++}`;
    this.output = numberedOutput();
    this.heard = [];
    const { pid } = value(
      await this.ssi.run({
        argv: ['/usr/bin/perl', '-e', counter],
        env: { SSI_TEST_MARK: this.mark },
        cwd: '/',
        node: origin,
        noInput: true,
      }),
    );
    this.pid = pid;
    void this.collect(this.output);
    await this.retried('the first move', () => this.ssi.migrate(pid, 1));
    await this.goesOn();
    return 1;
  }
  private async collect(output: ReturnType<typeof numberedOutput>): Promise<void> {
    for await (const event of this.ssi.attach(this.pid).events()) {
      if (event.type !== 'data') this.heard.push(JSON.stringify(event));
      if (event.type === 'data') output.feed(event.bytes);
      if (event.type === 'gap') output.feed(`BAD ${event.bytes} bytes gone\n`);
      if (event.type === 'failed')
        output.feed(`BAD ${event.failure.errno} ${event.failure.detail}\n`);
      if (event.type === 'exit') return;
    }
  }
  private retried(what: string, act: () => Promise<{ ok: boolean }>): Promise<unknown> {
    return waitUntil(what, async () => (await act()).ok, 20_000, this.cluster.describe);
  }

  /** Starts the move and resolves when it stands at the point. */
  private async hold(
    point: FailpointName,
    q: { at: number; to: number; move: () => void },
  ): Promise<void> {
    const fails = rollbackPoints.includes(point);
    this.arm(q.at, point);
    if (fails) this.arm(q.to, 'move.target.received', q.to === q.at ? point : undefined);
    q.move();
    if (fails) {
      await this.reached(q.to, 'move.target.received');
      for (const move of readdirSync(this.inNode(q.to, 'images')))
        rmSync(this.inNode(q.to, `images/${move}`), { recursive: true });
      this.release(q.to, 'move.target.received');
    }
    await this.reached(q.at, point);
  }
  private arm(num: number, point: FailpointName, more?: FailpointName): void {
    const points = [point, ...(more ? [more] : [])].map((p) => `${p}=wait`);
    writeFileSync(this.inNode(num, 'failpoints'), points.join());
  }
  private disarm(): void {
    for (const num of [1, 2]) rmSync(this.inNode(num, 'failpoints'), { force: true });
  }
  private reached(num: number, point: FailpointName): Promise<unknown> {
    const mark = this.inNode(num, `failpoint.${point}`);
    return waitUntil(
      `${point} on node ${num}`,
      () => existsSync(mark),
      20_000,
      () => this.cluster.describe(),
    );
  }
  private release(num: number, point: FailpointName): void {
    rmSync(this.inNode(num, `failpoint.${point}`), { force: true });
  }

  private entry(num: number) {
    const entry = this.cluster.file().nodes.find((n) => n.num === num);
    if (!entry) throw new Error(`no node ${num}`);
    return entry;
  }
  /** A path on the node's own tmpfs, as this process reaches it. */
  private inNode(num: number, path: string): string {
    return `/proc/${this.entry(num).pid}/root/run/ssi/node/${this.cluster.name}/${path}`;
  }

  /** Kills, then lets go who waits; gives the instant of the verdict. */
  private async kill(dies: 'vproc' | 'node', num: number, release: () => void): Promise<number> {
    const pid = dies === 'node' ? this.entry(num).pid : this.cluster.servicePid(num, 'vproc');
    process.kill(pid, 'SIGKILL');
    const killedAt = performance.now();
    release();
    if (dies === 'vproc') return killedAt;
    await this.isOut(num);
    return performance.now();
  }

  /** Stops what runs in the node, its guard too, until it is excluded; gives the instant at which it wakes. */
  private async pause(num: number, release: () => void): Promise<number> {
    const { pid: guard } = this.entry(num);
    const namespace = readlinkSync(`/proc/${guard}/ns/pid`);
    // What criu or a signal holds stopped stays so: it is not ours to continue.
    const runs = (pid: number): boolean => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        const state = stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
        return !/[TtZ]/.test(state) && readlinkSync(`/proc/${pid}/ns/pid`) === namespace;
      } catch {
        return false; // It ended meanwhile.
      }
    };
    const others = readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && pid !== guard && runs(pid));
    const stopped = [guard, ...others];
    const signal = (name: 'SIGSTOP' | 'SIGCONT'): void => {
      for (const pid of stopped)
        try {
          process.kill(pid, name);
        } catch {
          // It ended meanwhile.
        }
    };
    signal('SIGSTOP');
    try {
      release();
      await this.isOut(num);
    } finally {
      signal('SIGCONT');
    }
    return performance.now();
  }
  private isOut(num: number): Promise<unknown> {
    return waitUntil(
      `node ${num} is out of the view`,
      async () => {
        const nodes = await this.ssi.nodes();
        return nodes.ok && nodes.value.find((n) => n.num === num)?.state !== 'UP';
      },
      10_000,
      this.cluster.describe,
    );
  }

  private copies(): HostTask[] {
    return markedTasks(`SSI_TEST_MARK=${this.mark}`);
  }
  /** On which node a task of the host is: by its pid namespace, which is the guard's. */
  private hostPlace(task: HostTask): number | undefined {
    const place = (pid: number): string => {
      try {
        return readlinkSync(`/proc/${pid}/ns/pid`);
      } catch {
        return '';
      }
    };
    const here = place(task.pid);
    return this.cluster.file().nodes.find((n) => here !== '' && place(n.pid) === here)?.num;
  }
  private async placeOf(pid: number): Promise<number | undefined> {
    const list = await this.ssi.ps();
    const rows = list.ok ? list.value.processes.filter((p) => p.pid === pid) : [];
    return rows.length === 1 ? rows[0]?.node : undefined;
  }

  /** Exactly one copy, running, and the table shows it where it is. */
  private async oneLives(): Promise<void> {
    await waitUntil(
      `one copy of ${this.pid} that ps shows`,
      async () => {
        const copies = this.copies();
        const running = copies.filter((t) => t.state !== 'T' && t.state !== 't');
        if (running.length > 1) throw new Error(`${running.length} copies run`);
        const [one] = running;
        if (copies.length !== 1 || !one || one.nsPid !== this.pid) return false;
        const list = await this.ssi.ps();
        const rows = list.ok ? list.value.processes.filter((p) => p.pid === this.pid) : [];
        const [row] = rows;
        const where = this.hostPlace(one);
        return rows.length === 1 && row?.node === where && row?.state !== 'moving';
      },
      15_000,
      async () => `${JSON.stringify(this.copies())}\n${await this.cluster.describe()}`,
    );
  }

  /** No copy, and who waits is told why. */
  private async isLost(num: number): Promise<void> {
    const status = value(await this.ssi.wait(this.pid, { timeoutMs: 15_000 }));
    if (status.signal !== 'SIGKILL' || status.reason !== 'EHOSTDOWN')
      throw new Error(`lost with node ${num}, but: ${JSON.stringify(status)}`);
    const copies = this.copies();
    if (copies.length > 0) throw new Error(`copies are left: ${JSON.stringify(copies)}`);
    if ((await this.placeOf(this.pid)) !== undefined) throw new Error('ps shows it still');
    this.pid = 0;
  }

  private async goesOn(): Promise<void> {
    const next = (): number => this.output.report().next.get('') ?? 0;
    const now = next();
    const { wrong } = this.output.report();
    const said = (): Promise<string> =>
      this.cluster
        .describe()
        .then((d) => [...this.output.report().wrong, ...this.heard.slice(-10), d].join('\n'));
    await waitUntil('it counts on', () => next() >= now + 10, 15_000, said);
    if (wrong.length > 0) throw new Error(wrong.join('\n'));
  }

  /** No images, and no move that is not over, on any node that lives. */
  private async nothingLeft(dead: number): Promise<void> {
    const open = (num: number): string[] => [
      ...readdirSync(this.inNode(num, 'images')),
      ...readdirSync(this.inNode(num, 'moves')).filter(
        (name) =>
          !/"phase":"(resumed|aborted)"/.test(
            readFileSync(this.inNode(num, `moves/${name}`), 'utf8'),
          ),
      ),
    ];
    const alive = [1, 2, 3].filter((n) => n !== dead);
    await waitUntil(
      'nothing of the move is left',
      () => {
        try {
          return alive.every((n) => open(n).length === 0);
        } catch {
          return false; // It went while it was read.
        }
      },
      10_000,
      () => JSON.stringify(alive.map(open)),
    );
  }
}
