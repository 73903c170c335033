// Nodedown steps run in order over all nodes: a step begins for a dead life only when every node that is
// UP since before that death has done the one before; a new life comes only when the last one is DOWN.
import { type MemberId, sameIncarnation, talksIn, upMembers, type View } from '@ssi/contracts';
import type { StepRun } from '../calls.ts';
import type { SimCluster } from '../cluster.ts';
import { Violation } from '../world.ts';
import type { Checker } from './checker.ts';
import type { ViewsChecker } from './views.ts';

const order = ['ics', 'dlm', 'vproc'];
const nameOf = (m: MemberId): string => `${m.num}.${m.incarnation.bootId}`;

export class StepsChecker implements Checker {
  readonly name = 'nodedown steps';
  readonly #cluster: SimCluster;
  readonly #views: ViewsChecker;
  /** `dead life/step` -> lives (by node) that have done it. */
  readonly #done = new Map<string, Set<string>>();
  /** By dead life: the lives that were UP in the first view that has it as such. */
  readonly #witnesses = new Map<string, Set<string>>();
  runs = 0;

  constructor(cluster: SimCluster, views: ViewsChecker) {
    this.#cluster = cluster;
    this.#views = views;
    cluster.onStep((run) => this.#ran(run));
    views.onView((view, before, first) => {
      for (const m of view.members)
        if (!talksIn(m.state) && !this.#witnesses.has(nameOf(m)))
          this.#witnesses.set(nameOf(m), new Set(upMembers(view).map(nameOf)));
      if (first && before) this.#rejoined(view, before);
    });
  }

  #ran(run: StepRun): void {
    const at = order.indexOf(run.service);
    const view = this.#views.newest;
    if (at < 0 || !view) return;
    this.runs++;
    for (const dead of run.dead) {
      const key = `${nameOf(dead)}/${run.service}`;
      if (run.done) {
        const self = view.members.find((m) => m.num === run.node);
        if (!self) continue;
        const done = this.#done.get(key) ?? new Set();
        this.#done.set(key, done.add(nameOf(self)));
        continue;
      }
      const previous = order[at - 1];
      if (previous) this.#expect(view, dead, previous, `node ${run.node} begins ${run.service}`);
    }
  }

  /** Everyone who is UP since before this death, and has not died since, has done `step` for it. */
  #expect(view: View, dead: MemberId, step: string, what: string): void {
    const done = this.#done.get(`${nameOf(dead)}/${step}`);
    const witnesses = this.#witnesses.get(nameOf(dead));
    for (const m of upMembers(view))
      if (witnesses?.has(nameOf(m)) && this.#lives(m) && !done?.has(nameOf(m)))
        this.#cluster.world.violated(
          this.name,
          `${what} for ${nameOf(dead)} at ${view.transid}, but node ${m.num} has not done ${step}`,
        );
  }

  /** The view may show a node whose next boot is on its way: that one has nothing to clean up. */
  #lives({ num, incarnation }: MemberId): boolean {
    const { life } = this.#cluster.node(num);
    return life !== undefined && sameIncarnation(life, incarnation);
  }

  #rejoined(view: View, before: View): void {
    // Where nobody applied the views between, they are not known here.
    if (view.transid !== before.transid + 1) return;
    for (const m of view.members) {
      const old = before.members.find((b) => b.num === m.num);
      if (!old || sameIncarnation(old.incarnation, m.incarnation)) continue;
      if (old.state === 'SHUTDOWN' || old.state === 'NEVERUP') continue;
      if (old.state !== 'DOWN')
        throw new Violation(
          this.name,
          `node ${m.num} is ${m.state} in a new life, its former one is ${old.state}`,
        );
    }
  }
}
