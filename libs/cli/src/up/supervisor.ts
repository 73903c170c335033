// The supervisor of one node: starts each service as a process of its own (membership as two, of which one waits
// for its turn), starts it again when it ends (0.1 s, doubling to 5 s; reset after 3 s of life), ends them on
// SIGTERM. Holds no state: it may be killed, the guard starts it again, and it finds those that still run.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { compileCache, type HostProcess, isAlive, program, startTicks, until } from './host.ts';

const backoffMinMs = 100;
const backoffMaxMs = 5_000;
const steadyMs = 3_000;
const standbyAfterMs = 8_000;
const logMaxBytes = 16 * 2 ** 20;

interface Supervised {
  readonly service: string;
  /** Of its pid file. */
  readonly name: string;
  /** Not before this time after the supervisor began, ms: what the node needs to be UP comes first. */
  readonly afterMs: number;
  process?: HostProcess;
  child?: ChildProcess;
  backoffMs: number;
}

export async function supervise(env: NodeJS.ProcessEnv, stop: AbortSignal): Promise<void> {
  const names = (env.SSI_SERVICES ?? '').split(',').filter(Boolean);
  const one = (service: string, name = service, afterMs = 0) =>
    keep({ service, name, afterMs, backoffMs: backoffMinMs }, env, stop);
  const standby = names.includes('membership')
    ? [one('membership', 'membership-standby', standbyAfterMs)]
    : [];
  await Promise.all([...names.map((name) => one(name)), ...standby]);
}

async function keep(s: Supervised, env: NodeJS.ProcessEnv, stop: AbortSignal): Promise<void> {
  const pidFile = `${env.SSI_NODE_DIR}/${s.name}.pid`;
  const former = readPidFile(pidFile);
  if (former && isAlive(former)) s.process = former;
  else await pause(s.afterMs, stop);
  while (!stop.aborted) {
    const startedAt = performance.now();
    if (!s.process) start(s, env, pidFile);
    await ended(s, stop);
    if (stop.aborted) break;
    delete s.process;
    s.backoffMs = performance.now() - startedAt > steadyMs ? backoffMinMs : s.backoffMs;
    await pause(s.backoffMs, stop);
    s.backoffMs = Math.min(s.backoffMs * 2, backoffMaxMs);
  }
  const last = s.process;
  if (!last || !isAlive(last)) return;
  process.kill(last.pid, 'SIGTERM');
  if (!(await until(() => !isAlive(last), 3_000))) process.kill(last.pid, 'SIGKILL');
}

function start(s: Supervised, env: NodeJS.ProcessEnv, pidFile: string): void {
  const logPath = `${env.SSI_LOG_DIR}/${s.service}.log`;
  rotate(logPath);
  const log = openSync(logPath, 'a');
  s.child = spawn(process.execPath, [program(`services/${s.service}/src/main.ts`)], {
    stdio: ['ignore', log, log],
    cwd: '/',
    env: { ...env, NODE_COMPILE_CACHE: compileCache },
  });
  closeSync(log);
  const pid = s.child.pid;
  const ticks = pid === undefined ? undefined : startTicks(pid);
  if (pid === undefined || ticks === undefined) return;
  s.process = { pid, startTicks: ticks };
  writeFileSync(`${pidFile}.tmp`, JSON.stringify(s.process));
  renameSync(`${pidFile}.tmp`, pidFile);
}

/** Our own child tells by its exit; one of a former supervisor is watched by its start time. */
function ended(s: Supervised, stop: AbortSignal): Promise<void> {
  const { child, process: known } = s;
  return new Promise((done) => {
    if (!known) return done();
    stop.addEventListener('abort', () => done(), { once: true });
    if (child && child.pid === known.pid) {
      if (child.exitCode !== null || child.signalCode !== null) done();
      else child.once('exit', () => done());
      return;
    }
    const timer = setInterval(() => {
      if (isAlive(known)) return;
      clearInterval(timer);
      done();
    }, 50);
    stop.addEventListener('abort', () => clearInterval(timer), { once: true });
  });
}

const pause = (ms: number, stop: AbortSignal): Promise<void> =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    stop.addEventListener('abort', () => {
      clearTimeout(timer);
      done();
    });
  });

function readPidFile(path: string): HostProcess | undefined {
  try {
    const p = JSON.parse(readFileSync(path, 'utf8')) as HostProcess;
    return Number.isInteger(p.pid) && Number.isInteger(p.startTicks) ? p : undefined;
  } catch {
    return undefined;
  }
}

function rotate(path: string): void {
  try {
    if (statSync(path).size > logMaxBytes) renameSync(path, `${path}.1`);
  } catch {
    // No log yet.
  }
}
