// What a cluster must not leave behind: processes, namespaces, mounts, interfaces, control groups,
// nft tables, folders. Compared before and after, so that what else runs on this machine is no matter.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface Footprint {
  readonly processes: readonly string[];
  readonly pidNamespaces: readonly string[];
  readonly mounts: readonly string[];
  readonly links: readonly string[];
  readonly cgroups: readonly string[];
  readonly nftTables: readonly string[];
  readonly folders: readonly string[];
}

const ours = /ssi-guard|nats-server|redis-server|node-services|services\/[a-z-]+\/src\/main\.ts/;

const listDir = (path: string): string[] => (existsSync(path) ? readdirSync(path).sort() : []);

/** `cluster`: only what belongs to it is counted where that can be told. */
export function footprint(cluster: string): Footprint {
  const processes: string[] = [];
  const namespaces = new Set<string>();
  for (const pid of readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
    try {
      const environ = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      const mine =
        environ.includes(`SSI_CLUSTER=${cluster}`) || command.includes(`/clusters/${cluster}/`);
      if (!mine) continue;
      if (ours.test(command)) processes.push(`${pid} ${command}`);
      namespaces.add(readlinkSync(`/proc/${pid}/ns/pid`));
    } catch {
      // It ended meanwhile.
    }
  }
  const nft = execFileSync('sh', ['-c', 'nft list tables 2>/dev/null || true'], {
    encoding: 'utf8',
  });
  // As libs/cli/src/up/network.ts names them.
  const id = createHash('sha256').update(cluster).digest('hex').slice(0, 8);
  const links = execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' });
  return {
    processes: processes.sort(),
    pidNamespaces: [...namespaces].sort(),
    mounts: readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter((l) => l.includes('/run/ssi'))
      .sort(),
    links: (links.match(new RegExp(`\\b(ssi${id}|v${id.slice(0, 7)}n\\d+)\\b`, 'g')) ?? []).sort(),
    cgroups: ['', '/unified', '/freezer'].flatMap((h) =>
      listDir(`/sys/fs/cgroup${h}/ssi/${cluster}`).map((d) => `${h}/ssi/${cluster}/${d}`),
    ),
    // criu's and ours; others' (Docker's) come and go.
    nftTables: nft
      .split('\n')
      .filter((t) => /criu|ssi/i.test(t))
      .sort(),
    folders: [`/run/ssi/clusters/${cluster}`, `/run/ssi/node/${cluster}`].filter((d) =>
      existsSync(d),
    ),
  };
}
