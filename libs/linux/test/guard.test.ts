// ssi-guard and ssi-spawn on this machine, for each version of cgroups that it has.
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { boottimeMs, closeFd, pidfdGetfd, pidfdOpen, seek } from '../src/index.ts';
import { cgroupRoots, Guarded, until, whyNoGuard } from './guarded.ts';

const reason = whyNoGuard();
const run = promisify(execFile);
/** Writes CLOCK_BOOTTIME in ms to FILE, over and over. */
const ticker = `import sys,time
f=open(sys.argv[1],'w')
while True:
 f.seek(0); f.write('%.3f\\n' % (time.clock_gettime(time.CLOCK_BOOTTIME)*1e3)); f.flush(); time.sleep(0.001)`;

for (const [version, root] of cgroupRoots) {
  const skip = reason ?? (root ? undefined : `this machine has no cgroup ${version}`);
  describe.skipIf(skip)(`guard, cgroup ${version}${skip ? ` (${skip})` : ''}`, () => {
    const guards: Guarded[] = [];
    const guarded = (options: readonly string[] = [], child?: string[]): Guarded => {
      const guard = new Guarded(root ?? '', options, child);
      guards.push(guard);
      return guard;
    };
    afterEach(async () => {
      for (const guard of guards.splice(0)) await guard.stop();
    });
    const startTicker = async (guard: Guarded): Promise<{ pid: number; last: () => number }> => {
      const file = `${guard.inside}/ticks`;
      writeFileSync(file, '');
      const path = file.replace(`/proc/${guard.pid}/root`, '');
      const pid = await guard.start(['/usr/bin/python3', '-c', ticker, path]);
      const last = (): number => Number(readFileSync(file, 'latin1'));
      await until('ticks', () => (last() > 0 ? true : undefined));
      return { pid, last };
    };

    test('programs stop within 50 ms of the end of the lease, and go on when it is renewed', async () => {
      const guard = guarded();
      expect(await guard.ask('lease 60000')).toBe('ok');
      await guard.ask('watch');
      const { last } = await startTicker(guard);
      const deadline = boottimeMs() + 300;
      expect(await guard.ask(`lease-until ${deadline}`)).toBe('ok');
      await until('frozen', () => (guard.told.at(-1)?.startsWith('frozen') ? true : undefined));
      const frozenAt = Number(guard.told.at(-1)?.split(' ')[1]);
      expect(frozenAt).toBeGreaterThanOrEqual(deadline);
      expect(frozenAt).toBeLessThan(deadline + 50);
      await until('time to pass', () => (boottimeMs() > deadline + 150 ? true : undefined));
      expect(last()).toBeLessThan(deadline + 50);
      expect((await guard.status()).frozen).toBe(1);
      const thawedAfter = boottimeMs();
      expect(await guard.ask('lease 60000')).toBe('ok');
      await until('ticks again', () => (last() > thawedAfter ? true : undefined));
      await guard.ask('lease 0');
      expect((await guard.status()).frozen).toBe(1);
    });

    test('before the first lease nothing runs', async () => {
      const guard = guarded();
      expect((await guard.status()).frozen).toBe(1);
      const started = guard.start(['sleep', '1000']);
      await until('it to be in the cgroup', () =>
        readFileSync(`${guard.programs}/cgroup.procs`, 'latin1') === '' ? undefined : true,
      );
      await guard.ask('lease 60000');
      expect(await started).toBeGreaterThan(3 << 16);
    });

    test('kill ends every program, frozen or not, and the exits say so', async () => {
      const guard = guarded();
      await guard.ask('lease 60000');
      const pids = [await guard.start(['sleep', '1000']), await guard.start(['sleep', '1000'])];
      await guard.ask('lease 0');
      expect(await guard.ask('kill')).toBe('ok');
      expect(readFileSync(`${guard.programs}/cgroup.procs`, 'latin1')).toBe('');
      await until('their exits', () => (guard.exits().length === 2 ? true : undefined));
      const ends = guard.exits().sort((a, b) => a.pid - b.pid);
      expect(ends.map(({ pid, signal }) => [pid, signal])).toEqual(pids.map((pid) => [pid, 9]));
      expect((await guard.status()).frozen).toBe(1);
    });

    test('exits carry start, code and signal; those of the services do not show', async () => {
      const guard = guarded();
      await guard.ask('lease 60000');
      const sleeper = await guard.start(['sleep', '1000']);
      const startTicks = Number(guard.proc(sleeper, 'stat')?.split(') ')[1]?.split(' ')[19]);
      const coded = await guard.start(['sh', '-c', 'exit 42']);
      const orphans = await guard.start(['sh', '-c', '(sleep 0.05; exit 5) & exit 3']);
      await run('nsenter', ['-t', String(guard.pid), '-p', '-m', 'kill', '-TERM', String(sleeper)]);
      const exits = await until('four exits', () => {
        const list = guard.exits();
        return list.length >= 4 ? list : undefined;
      });
      const of = (pid: number) => exits.find((exit) => exit.pid === pid);
      expect(of(sleeper)).toMatchObject({ startTicks, code: -1, signal: 15 });
      expect(of(coded)).toMatchObject({ code: 42, signal: 0 });
      expect(of(orphans)).toMatchObject({ code: 3, signal: 0 });
      expect(exits.filter(({ code }) => code === 5)).toHaveLength(1);
    });

    test('a number is held until released, also of another range, and only once', async () => {
      const guard = guarded();
      expect(await guard.ask('hold 200000')).toBe('ok 200000');
      expect(await guard.ask('hold 200000')).toMatch(/^error EEXIST/);
      expect(await guard.ask('hold 70000')).toBe('ok 70000');
      expect((await guard.status()).pidmax).toBe(4 << 16);
      const any = Number((await guard.ask('hold any')).split(' ')[1]);
      expect(any >> 16).toBe(3);
      expect(await guard.ask('held')).toBe(`ok 200000 70000 ${any}`);
      expect(await guard.ask('release 200000')).toBe('ok');
      expect(guard.proc(200000, 'stat')).toBeUndefined();
      expect(await guard.ask('hold 200000')).toBe('ok 200000');
      expect(await guard.ask('release 12345')).toBe('ok');
      expect(guard.exits()).toEqual([]);
    });

    test('a program gets the number that was held for it, as child of pid 1 and leader', async () => {
      const guard = guarded();
      await guard.ask('lease 60000');
      const pid = Number((await guard.ask('hold any')).split(' ')[1]);
      await guard.ask(`release ${pid}`);
      expect(await guard.start(['sleep', '1000'], ['--pid', String(pid)])).toBe(pid);
      const stat = guard.proc(pid, 'stat')?.split(') ')[1]?.split(' ');
      expect(stat?.slice(1, 4).map(Number)).toEqual([1, pid, pid]);
      await expect(guard.start(['true'], ['--pid', String(pid)])).rejects.toMatchObject({
        stdout: expect.stringMatching(/^error EEXIST/),
      });
    });

    test('spawn says what execve said, and keeps nothing of the starter', async () => {
      const guard = guarded();
      await guard.ask('lease 60000');
      const failure = (argv: string[], options?: string[]) =>
        guard.start(argv, options).then(
          () => 'started',
          (error: { stdout: string }) => error.stdout.split(' ').slice(0, 2).join(' '),
        );
      expect(await failure(['/no/such/program'])).toBe('error ENOENT');
      expect(await failure(['/etc/passwd'])).toBe('error EACCES');
      expect(await failure(['true'], ['--cwd', '/no/such'])).toBe('error ENOENT');
      expect(await failure(['true'], ['--cwd', '/etc/passwd'])).toBe('error ENOTDIR');
      const pid = await guard.start(['sleep', '1000'], ['--uid', '12345', '--gid', '54321']);
      const status = guard.proc(pid, 'status') ?? '';
      expect(status).toMatch(/^Uid:\t12345\t12345\t12345/m);
      expect(status).toMatch(/^Gid:\t54321\t54321\t54321/m);
      expect(status).toMatch(/^Groups:\t54321 $/m);
      expect(status).toMatch(/^SigBlk:\t0+$/m);
      expect(status).toMatch(/^SigIgn:\t0+$/m);
      expect(guard.proc(pid, 'oom_score_adj')).toBe('0\n');
    });

    test('what it keeps open is shared: one description, one position', async () => {
      const guard = guarded();
      writeFileSync(`${guard.inside}/file`, 'hello world');
      const path = `${guard.inside}/file`.replace(`/proc/${guard.pid}/root`, '');
      const fd = Number((await guard.ask(`open ${path} r`)).split(' ')[1]);
      expect(await guard.ask('fds')).toBe(`ok ${fd} ${path}`);
      const pidfd = pidfdOpen(guard.pid);
      const [one, other] = [pidfdGetfd(pidfd, fd), pidfdGetfd(pidfd, fd)];
      seek(one, 6, 'set');
      expect(seek(other, 0, 'current')).toBe(6);
      for (const each of [pidfd, one, other]) closeFd(each);
      expect(await guard.ask(`close ${fd}`)).toBe('ok');
      expect(await guard.ask('fds')).toBe('ok');
      expect(await guard.ask('open /no/such r')).toMatch(/^error ENOENT/);
    });

    test('a range of 2,000 wraps without ever leaving it', async () => {
      const [low, high] = [200_000, 201_999];
      const guard = guarded(['--pid-low', String(low), '--pid-high', String(high)]);
      await guard.ask('lease 60000');
      await guard.ask('hold 200500');
      // Of dash, whose fork(2) costs a tenth of python's.
      const script = `i=0
while [ $i -lt 4500 ]; do : & echo $!; wait; i=$((i + 1)); done > "$OUT"
echo done >> "$OUT"; exec sleep 1000`;
      const out = `${guard.inside}/pids`;
      const env = `OUT=${out.replace(`/proc/${guard.pid}/root`, '')}`;
      await guard.start(['env', env, 'sh', '-c', script]);
      const lines = await until(
        'all forks',
        () => {
          const text = readOr(out);
          return text.endsWith('done\n') ? text.split('\n') : undefined;
        },
        60_000,
      );
      const pids = lines.slice(0, -2).map(Number);
      expect(pids).toHaveLength(4500);
      expect(pids.filter((pid) => pid < low || pid > high)).toEqual([]);
      expect(pids).not.toContain(200500);
      expect(pids.filter((pid, i) => pid < (pids[i - 1] ?? 0)).length).toBeGreaterThanOrEqual(2);
    }, 90_000);

    test('its child is started again when it ends', async () => {
      const guard = guarded([], ['sh', '-c', 'sleep 0.05']);
      const first = (await guard.status()).child;
      await until('another child', async () => {
        const { child } = await guard.status();
        return child !== 0 && child !== first ? child : undefined;
      });
      expect(guard.exits()).toEqual([]);
    });

    test('pid_max opened by a connection that breaks is closed again', async () => {
      const guard = guarded();
      expect((await guard.status()).pidmax).toBe(4 << 16);
      const other = Guarded.client(guard);
      expect(await other.ask('pidmax open')).toBe('ok');
      expect((await guard.status()).pidmax).toBe(4194304);
      other.close();
      await until('the range', async () =>
        (await guard.status()).pidmax === 4 << 16 ? true : undefined,
      );
      expect(await guard.ask('pidmax range')).toMatch(/^error EINVAL/);
    });

    test('nonsense gets an error and harms nothing', async () => {
      const guard = guarded();
      for (const line of [
        '',
        'what',
        'lease',
        'lease x',
        'lease -1',
        'hold 0',
        'close 1',
        'open a',
      ])
        expect(await guard.ask(line)).toMatch(/^error E[A-Z]+ /);
      const flood = Guarded.client(guard);
      await flood.flood();
      expect((await guard.status()).frozen).toBe(1);
    });

    test('SIGTERM ends the node cleanly, SIGKILL at once', async () => {
      const gentle = guarded();
      await gentle.ask('lease 60000');
      await gentle.start(['sleep', '1000']);
      process.kill(gentle.pid, 'SIGTERM');
      await until('its end', () => (gentle.ended ? true : undefined));
      const hard = guarded();
      await hard.ask('lease 60000');
      await hard.start(['sleep', '1000']);
      process.kill(hard.pid, 'SIGKILL');
      await until('its end', () => (hard.ended ? true : undefined));
      for (const { programs } of [gentle, hard])
        await until('the programs to be gone', () =>
          readFileSync(`${programs}/cgroup.procs`, 'latin1') === '' ? true : undefined,
        );
    });
  });
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
