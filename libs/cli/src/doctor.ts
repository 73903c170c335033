// What `ssi doctor` looks at: each check tries the thing itself, says what it found, and what to do.
// A check that only matters for part of what ssi does is `optional`: it warns, and fails nothing.
import { execFile } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  statfsSync,
} from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { findCluster, probeBus, type Ssi } from '@ssi/client';
import type { Reply } from '@ssi/contracts';
import { cgroupRoot } from './up/cgroup.ts';
import { projectDir, tool } from './up/host.ts';

export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
  /** What to do; empty where nothing is to be done. */
  readonly remedy: string;
  /** Without it the rest works: not counted as a failure. */
  readonly optional: boolean;
}

interface Look {
  readonly ok: boolean;
  readonly detail: string;
  readonly remedy?: string;
}
export interface Check {
  readonly name: string;
  readonly optional?: boolean;
  look(): Promise<Look> | Look;
}

const good = (detail: string): Look => ({ ok: true, detail });
const bad = (detail: string, remedy: string): Look => ({ ok: false, detail, remedy });

const setup = 'run infra/setup as root: it gets it for you';
const needsRoot = 'run ssi as root; without it only actors move, no programs';

interface Ran {
  readonly code: number;
  readonly text: string;
}
const runTool = (file: string, args: readonly string[], timeoutMs = 20_000): Promise<Ran> =>
  new Promise((done) => {
    execFile(file, [...args], { timeout: timeoutMs }, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 127) : 0;
      done({ code, text: (stdout + stderr).trim() || (error?.message ?? '') });
    });
  });
const lastLine = (text: string): string => text.split('\n').at(-1) ?? '';

/** True where `version` (1.2.3) is at least `min`. */
export function atLeast(version: string, min: string): boolean {
  const [a, b] = [version, min].map((v) => v.split('.').map((n) => Number.parseInt(n, 10) || 0));
  for (let i = 0; i < 3; i++) {
    const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

const versionOf = (text: string): string => /(\d+\.\d+(\.\d+)?)/.exec(text)?.[1] ?? '';

const capabilities = { CAP_NET_ADMIN: 12, CAP_SYS_PTRACE: 19, CAP_SYS_ADMIN: 21, CAP_SYS_NICE: 23 };

/** Names of needed capabilities that the effective set (hex, of /proc/self/status) lacks. */
export function missingCapabilities(effective: string): string[] {
  const set = BigInt(`0x${effective}`);
  return Object.entries(capabilities).flatMap(([name, bit]) =>
    (set >> BigInt(bit)) & 1n ? [] : [name],
  );
}

const privileges: Check = {
  name: 'privileges',
  look: () => {
    const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(
      readFileSync('/proc/self/status', 'utf8'),
    )?.[1];
    const missing = missingCapabilities(effective ?? '0');
    return missing.length === 0
      ? good(`uid ${process.getuid?.()}, all capabilities that nodes need`)
      : bad(`missing: ${missing.join(' ')}`, needsRoot);
  },
};

const namespaces: Check = {
  name: 'namespaces',
  look: async () => {
    const flags = ['--pid', '--fork', '--mount', '--uts', '--ipc', '--net', 'true'];
    const ran = await runTool('unshare', flags);
    return ran.code === 0
      ? good('pid, mount, uts, ipc and net can be made')
      : bad(
          lastLine(ran.text),
          `${needsRoot}; in a container: --privileged or --cap-add SYS_ADMIN`,
        );
  },
};

const cgroups: Check = {
  name: 'cgroups',
  look: () => {
    const root = cgroupRoot();
    if (!root)
      return bad(
        'no hierarchy that can freeze',
        'mount cgroup2 at /sys/fs/cgroup (or the v1 freezer); in a container: --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup',
      );
    const probe = `${root}/ssi-doctor-${process.pid}`;
    try {
      mkdirSync(probe);
    } catch (error) {
      return bad(`${root}: ${(error as Error).message}`, needsRoot);
    }
    try {
      const file = ['cgroup.freeze', 'freezer.state'].find((f) => existsSync(`${probe}/${f}`));
      return file
        ? good(`${root} (${file})`)
        : bad(`${root} has no freezer`, 'use a kernel of 5.2 or later, or mount the v1 freezer');
    } finally {
      rmdirSync(probe);
    }
  },
};

const criu: Check = {
  name: 'criu',
  look: async () => {
    const path = tool('criu');
    const version = await runTool(path, ['--version']);
    if (version.code !== 0) return bad('criu is not installed', setup);
    const probe = `${projectDir}infra/criu-works`;
    const ran = await runTool(probe, [path], 60_000);
    const name = `criu ${versionOf(version.text)}`;
    return ran.code === 0
      ? good(`${name}: a program with a socket was dumped and restored`)
      : bad(
          `${name}: ${lastLine(ran.text)}`,
          `${setup}; from kernel 6.16 it must be criu 4.2 or later`,
        );
  },
};

const helpers: Check = {
  name: 'helpers',
  look: () => {
    const missing = ['ssi-guard', 'ssi-spawn', 'ssi-stub'].filter((n) => !existsSync(tool(n)));
    return missing.length === 0
      ? good('ssi-guard, ssi-spawn, ssi-stub')
      : bad(`missing: ${missing.join(', ')}`, `${setup} (needs gcc)`);
  },
};

const nftables: Check = {
  name: 'nftables',
  look: async () => {
    const ran = await runTool(tool('nft'), ['list', 'tables']);
    if (ran.code === 0) return good(`${ran.text ? ran.text.split('\n').length : 0} tables`);
    if (ran.code === 127) return bad('nft is not installed', setup);
    return bad(lastLine(ran.text), `${needsRoot}; and: modprobe nf_tables`);
  },
};

const fuse: Check = {
  name: 'fuse',
  optional: true,
  look: () => {
    try {
      closeSync(openSync('/dev/fuse', 'r+'));
      return good('/dev/fuse opens');
    } catch (error) {
      return bad(
        (error as Error).message,
        'modprobe fuse; in a container: --device /dev/fuse (needed for the shared tree only)',
      );
    }
  },
};

const server = (name: string, min: string, flag: string): Check => ({
  name,
  look: async () => {
    const ran = await runTool(tool(name), [flag]);
    if (ran.code !== 0) return bad(`${name} is not installed`, setup);
    const version = versionOf(ran.text);
    return atLeast(version, min)
      ? good(`${version} at ${tool(name)}`)
      : bad(`${version}, needed is ${min}`, setup);
  },
});

const space: Check = {
  name: 'room for moves',
  look: () => {
    const { bavail, bsize } = statfsSync(existsSync('/run') ? '/run' : '/tmp');
    const available =
      Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024;
    const mb = (n: number): string => `${Math.round(n / 1e6)} MB`;
    const detail = `${mb(available)} of memory, ${mb(bavail * bsize)} in /run`;
    return available > 256e6
      ? good(detail)
      : bad(detail, 'images of a moving process are kept in memory: free some, or add swap');
  },
};

/** A bus and the machines whose clocks it compares; membership needs no agreement, traces do. */
const skewMaxMs = 100;

function busChecks(env: NodeJS.ProcessEnv, cluster: string | undefined): Check[] {
  const found = findCluster({ env, cluster });
  if (!found.ok)
    return [
      {
        name: 'cluster',
        optional: true,
        look: () => bad(found.detail, found.errno === 'ENOENT' ? 'ssi up --nodes 3' : found.detail),
      },
      { name: 'clocks', look: localClock },
    ];
  const { nats, file } = found.value;
  const probe = probeBus(nats.split(',')[0] ?? nats, 3_000);
  const checks: Check[] = [
    {
      name: 'NATS',
      look: async () => {
        const reply = await probe;
        if (!reply.ok)
          return bad(
            reply.detail,
            'look at nats.log in the folder of the cluster; ssi down, then ssi up',
          );
        const { version, rttMs, jetstream } = reply.value;
        if (!jetstream) return bad(`${version} without JetStream`, 'start nats-server with -js');
        return atLeast(version, '2.10.0')
          ? good(`${version}, round trip ${rttMs.toFixed(1)} ms`)
          : bad(`${version}: acknowledges before it is on disk`, 'use 2.10 or later');
      },
    },
    {
      name: 'clocks',
      look: async () => {
        const local = localClock();
        const reply = await probe;
        if (!local.ok || !reply.ok || reply.value.skewMs === undefined) return local;
        const skew = reply.value.skewMs;
        const detail = `${local.detail}; the bus's wall clock differs by ${Math.abs(skew).toFixed(0)} ms`;
        return Math.abs(skew) <= skewMaxMs + reply.value.rttMs
          ? good(detail)
          : bad(detail, 'run an NTP daemon on every machine: traces and logs will not line up');
      },
    },
  ];
  if (file?.redis) {
    const url = file.redis;
    checks.push({ name: 'Redis', optional: true, look: () => redisAnswers(url) });
  }
  return checks;
}

function localClock(): Look {
  const path = '/sys/devices/system/clocksource/clocksource0/current_clocksource';
  const source = existsSync(path) ? readFileSync(path, 'utf8').trim() : 'unknown';
  return /jiffies/.test(source)
    ? bad(`clock source ${source} is too coarse for leases`, 'boot without clocksource=; see dmesg')
    : good(`clock source ${source}`);
}

const redisAnswers = (url: string): Promise<Look> =>
  new Promise((done) => {
    const { hostname, port, password } = new URL(url);
    const socket = connectTcp({ host: hostname, port: Number(port), timeout: 3_000 });
    const failed = (text: string): void => {
      socket.destroy();
      done(
        bad(text, 'look at redis.log in the folder of the cluster; it is a cache, nothing is lost'),
      );
    };
    socket.once('error', (error) => failed(error.message));
    socket.once('timeout', () => failed('no answer in 3 s'));
    socket.once('connect', () => socket.write(`AUTH ${decodeURIComponent(password)}\r\nPING\r\n`));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.includes('+PONG')) {
        socket.destroy();
        done(good(`answers at ${hostname}:${port}`));
      } else if (text.startsWith('-')) failed(text.trim());
    });
  });

function nodeChecks(connect: () => Promise<Reply<Ssi>>): Check[] {
  return [
    {
      name: 'nodes',
      look: async () => {
        const connected = await connect();
        if (!connected.ok) return bad(`${connected.errno} ${connected.detail}`, 'ssi up');
        try {
          const nodes = await connected.value.nodes();
          if (!nodes.ok)
            return bad(
              `${nodes.errno} ${nodes.detail}`,
              'look at the logs in the folder of the cluster',
            );
          const silent = nodes.value.filter((n) => n.state === 'UP' && !n.answers);
          const up = nodes.value.filter((n) => n.state === 'UP').map((n) => n.num);
          return silent.length === 0
            ? good(`UP: ${up.join(' ') || 'none'}`)
            : bad(
                `do not answer: ${silent.map((n) => n.num).join(' ')}`,
                'look at membership.log of those nodes',
              );
        } finally {
          await connected.value.close();
        }
      },
    },
  ];
}

/** In the order a person would want to know. */
export function checksFor(
  env: NodeJS.ProcessEnv,
  cluster: string | undefined,
  connect: () => Promise<Reply<Ssi>>,
): Check[] {
  const clusterIsThere = findCluster({ env, cluster }).ok;
  return [
    privileges,
    namespaces,
    cgroups,
    criu,
    helpers,
    nftables,
    fuse,
    server('nats-server', '2.10.0', '--version'),
    server('redis-server', '6.0.0', '--version'),
    space,
    ...busChecks(env, cluster),
    ...(clusterIsThere ? nodeChecks(connect) : []),
  ];
}

/** A check that fails in a way nobody foresaw is a finding too. */
export async function lookAt(check: Check): Promise<Finding> {
  const optional = check.optional ?? false;
  try {
    const { ok, detail, remedy = '' } = await check.look();
    return { check: check.name, ok, detail, remedy, optional };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { check: check.name, ok: false, detail, remedy: 'see what the message says', optional };
  }
}
