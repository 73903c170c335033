// Checks of this machine: each tries the thing itself, says what it found, and what to do.
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
import { atLeast, bad, type Check, good, type Look, versionOf } from './finding.ts';
import { cgroupRoot } from './up/cgroup.ts';
import { projectDir, tool } from './up/host.ts';

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

export function localClock(): Look {
  const path = '/sys/devices/system/clocksource/clocksource0/current_clocksource';
  const source = existsSync(path) ? readFileSync(path, 'utf8').trim() : 'unknown';
  return /jiffies/.test(source)
    ? bad(`clock source ${source} is too coarse for leases`, 'boot without clocksource=; see dmesg')
    : good(`clock source ${source}`);
}

/** In the order a person would want to know. */
export const machineChecks: readonly Check[] = [
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
];
