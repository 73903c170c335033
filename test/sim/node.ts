// One simulated node: its machine (kernel, guard, tmpfs) for as long as it is switched on, its disk for
// good, and its services, each a life of its own that a supervisor starts again.

import type { ActorHost } from '@ssi/client';
import { type Incarnation, pidRange } from '@ssi/contracts';
import { memorySessionRecord, memoryTokenRecord } from '@ssi/dlm';
import type { KeyRole } from '@ssi/ics';
import {
  createFakeDisk,
  createFakeGuard,
  type FakeDisk,
  type FakeGuard,
  type Membership,
} from '@ssi/membership';
import { type ClockShape, Life, type SimRandom } from '@ssi/sim';
import {
  type FailpointName,
  FakeMachine,
  fakePorts,
  memoryRecords,
  type VprocPorts,
} from '@ssi/vproc';
import type { CallWatch } from './calls.ts';
import { failingPorts } from './failing-ports.ts';
import type { Plant } from './plants.ts';
import { type ServiceName, serviceNames, startService } from './services.ts';
import type { TallyEvent } from './tally-actor.ts';
import type { World } from './world.ts';

/** Time between two lines of a simulated program, ms. */
const programTickMs = 100;
/** The supervisor's pause before it starts a service again, ms. */
const restartMs = [100, 900] as const;
/** A node that died at a call is started again after this, ms. */
const bootMs = [500, 4_000] as const;

/** Where a service dies: right before or after its next call of this kind. */
export interface PortTrap {
  readonly service: ServiceName;
  /** Calls of ports until it strikes. */
  left: number;
  readonly when: 'before' | 'after';
  /** What is lost there. */
  readonly what: 'service' | 'node';
}

export interface NodeOptions {
  readonly num: number;
  readonly world: World;
  readonly calls: CallWatch;
  readonly plant: Plant | undefined;
  /** The lock manager itself in place of its stand-in. */
  readonly locks: boolean;
  readonly onProbe: (node: number, token: string) => void;
  readonly onActorRan: (pid: number, event: TallyEvent) => void;
  readonly onHostEnds: (host: ActorHost) => void;
}

export class SimNode {
  readonly num: number;
  readonly address: string;
  readonly world: World;
  readonly calls: CallWatch;
  readonly plant: Plant | undefined;
  readonly locks: boolean;
  /** On the node's tmpfs: of this boot. */
  lockTokens = memoryTokenRecord();
  lockSessions = memorySessionRecord();
  readonly disk: FakeDisk = createFakeDisk();
  readonly lives = new Map<ServiceName, Life>();
  machine: FakeMachine;
  guard: FakeGuard;
  ports: VprocPorts;
  membership: Membership | undefined;
  /** The key service of this node, whichever life of it is the newest. */
  keyRole: KeyRole | undefined;
  /** The last one started: what its life held is lost with it. */
  actorHost: ActorHost | undefined;
  /** The machine itself stands still (a VM that is stopped): nothing on it runs, the guard neither. */
  halted = false;
  trap: PortTrap | undefined;
  /** The service dies (or the node) when it comes to this point. */
  failpoints = new Map<FailpointName, 'service' | 'node'>();
  readonly #o: NodeOptions;
  readonly #random: SimRandom;
  readonly #shape: ClockShape;
  #boot: Life;
  #incarnation: Incarnation | undefined;
  #killedMs = Number.NEGATIVE_INFINITY;
  #boots = 0;
  /** Its processes are stopped; `halted` lasts until its guard has run after that. */
  #still = false;
  #slowMs = 0;
  #starts = 0;

  constructor(options: NodeOptions) {
    const { num, world, calls, plant } = options;
    this.#o = options;
    this.num = num;
    this.world = world;
    this.calls = calls;
    this.plant = plant;
    this.locks = options.locks;
    this.address = `10.77.0.${num}`;
    world.streams.name(this.address, num);
    this.#random = world.random(`n${num}`);
    this.#shape = {
      offsetMs: this.#random.between(1_000, 1_000_000),
      rate: 1 + this.#random.between(-0.004, 0.004),
    };
    this.#boot = this.#life('off');
    this.guard = createFakeGuard(this.#boot.clock);
    this.machine = this.#newMachine();
    this.ports = this.#newPorts();
    this.#boot.end();
    this.machine.die();
  }

  get up(): boolean {
    return this.#boot.alive;
  }
  /** The life that its programs belong to, as its membership said last. */
  get life(): Incarnation | undefined {
    if (this.membership) this.#incarnation = this.membership.state.id.incarnation;
    return this.#incarnation;
  }
  /** Its guard kills its programs right now. */
  get killing(): boolean {
    return this.#killedMs === this.world.clock.nowMs();
  }
  /** A name for one boot of this node. */
  get boot(): string {
    return `n${this.num}.${this.#boots}`;
  }

  /** Power on. */
  start(): void {
    if (this.up) return;
    this.#boots++;
    this.#incarnation = undefined;
    this.halted = false;
    this.#still = false;
    this.world.journal.event(`n${this.num}`, 'boot', { boot: this.#boots });
    this.#boot = this.#life('guard');
    this.disk.reboot();
    this.lockTokens = memoryTokenRecord();
    this.lockSessions = memorySessionRecord();
    this.guard = createFakeGuard(this.#boot.clock);
    this.machine = this.#newMachine();
    this.machine.freeze(true);
    const { machine } = this;
    this.guard.onChange = (frozen) => {
      this.world.journal.event(this.boot, frozen ? 'frozen' : 'thawed');
      machine.freeze(frozen);
    };
    const { guard } = this;
    const plainKill = guard.kill.bind(guard);
    guard.kill = () => {
      this.#killedMs = this.world.clock.nowMs();
      this.world.journal.event(this.boot, 'guard kills', { processes: machine.processes.size });
      for (const pid of [...machine.processes.keys()]) machine.signal(pid, 9);
      return plainKill();
    };
    this.ports = this.#newPorts();
    for (const service of serviceNames) this.startService(service);
  }

  /** SIGKILL of the guard, or the power goes: everything of this boot is gone. */
  kill(why: string): void {
    if (!this.up) return;
    this.world.journal.event(`n${this.num}`, `killed: ${why}`);
    this.membership = undefined;
    for (const life of this.lives.values()) life.end();
    this.lives.clear();
    this.failpoints.clear();
    this.trap = undefined;
    this.#boot.end();
    this.machine.die();
  }

  startService(service: ServiceName): void {
    if (!this.up || this.lives.get(service)?.alive) return;
    const life = this.#life(`${service}.${++this.#starts}`, service);
    this.lives.set(service, life);
    this.world.journal.event(life.name, 'starts');
    if (this.#still) life.pause();
    life.slow(this.#slowMs);
    startService(this, service, life);
  }

  /** kill -9 of one service; its supervisor starts it again. */
  killService(service: ServiceName, why: string): void {
    const life = this.lives.get(service);
    if (!life?.alive) return;
    this.world.journal.event(life.name, `killed: ${why}`);
    if (service === 'clms') this.membership = undefined;
    life.end();
    const delayMs = this.#random.between(restartMs[0], restartMs[1]);
    this.#boot.clock.after(delayMs, () => this.startService(service));
  }

  /** The machine is stopped and goes on later, without knowing. */
  halt(on: boolean): void {
    if (!this.up || this.#still === on) return;
    this.world.journal.event(`n${this.num}`, on ? 'halted' : 'goes on');
    const all = [this.#boot, ...this.lives.values()];
    this.#still = on;
    if (on) {
      this.halted = true;
      for (const life of all) life.pause();
      return;
    }
    for (const life of all) life.resume();
    // Until the guard has run, what ran when the machine stopped may run on: that is promised only in ms.
    this.world.clock.after(1, () => {
      this.halted = false;
    });
  }

  /** Something else has its processors; the guard runs before all of it. 0: no more. */
  starve(ms: number): void {
    this.#slowMs = ms;
    for (const life of this.lives.values()) life.slow(ms);
  }

  /** Somebody sets its wall clock, forward or back. */
  setClock(ms: number): void {
    this.#shape.wallStepMs = (this.#shape.wallStepMs ?? 0) + ms;
  }

  probed(token: string): void {
    this.#o.onProbe(this.num, token);
  }
  actorRan(pid: number, event: TallyEvent): void {
    this.#o.onActorRan(pid, event);
  }
  /** Its actors end with the life of their host. */
  hosts(host: ActorHost, life: Life): void {
    this.actorHost = host;
    life.onEnd(() => {
      this.#o.onHostEnds(host);
      if (this.actorHost === host) this.actorHost = undefined;
    });
  }

  /** It hears that its node began another life: its actors end. */
  hostDisowns(host: ActorHost): void {
    this.#o.onHostEnds(host);
  }

  async failpoint(name: FailpointName, life: Life): Promise<void> {
    const what = this.failpoints.get(name);
    if (!what || !life.alive) return;
    this.failpoints.delete(name);
    if (what === 'node') this.kill(`at ${name}`);
    else this.killService('vproc', `at ${name}`);
    // Whoever is dead does not come back from here.
    await new Promise(() => {});
  }

  #newMachine(): FakeMachine {
    const { low, high } = pidRange(this.num, 16);
    return new FakeMachine({ clock: this.#boot.clock, low, high, tickMs: programTickMs });
  }

  #newPorts(): VprocPorts {
    // Records of actors are on the node's tmpfs, as all others.
    const ports = { ...fakePorts(this.machine), actorRecords: memoryRecords() };
    return failingPorts(ports, this.machine);
  }

  #life(name: string, service?: ServiceName): Life {
    return new Life({
      name: `n${this.num}.${name}`,
      world: this.world.clock,
      shape: this.#shape,
      portDelayMs: () => this.#random.between(0, 1),
      onPortCall: (port, method) => this.#spring(service, port, method),
    });
  }

  #spring(
    service: ServiceName | undefined,
    port: string,
    method: string,
  ): 'before' | 'after' | undefined {
    const { trap } = this;
    if (!trap || !service || trap.service !== service || trap.left-- > 0) return undefined;
    this.trap = undefined;
    this.world.journal.event(`n${this.num}.${service}`, `dies ${trap.when} ${port}.${method}`);
    const life = this.lives.get(service);
    if (trap.what === 'node') {
      life?.onEnd(() => this.kill(`at ${port}.${method}`));
      this.world.clock.after(this.#random.between(bootMs[0], bootMs[1]), () => this.start());
      return trap.when;
    }
    if (service === 'clms') this.membership = undefined;
    this.#boot.clock.after(this.#random.between(restartMs[0], restartMs[1]), () => {
      if (!life?.alive) this.startService(service);
    });
    return trap.when;
  }
}
