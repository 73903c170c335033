// One address: requests a second, tail, and CPU for each request, of wrk with 32 connections that it keeps, to two nginx:
// without anything between but the same route (direct), a dnat rule by hand, our data planes, HAProxy, nginx stream.
// All in turn in one run, several times; what is compared is the median of each. CPU is that of wrk, the servers and
// what is between: what the kernel does for a packet is mostly charged to whoever sent it.
import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { RealServer, VirtualService } from '@ssi/contracts';
import { candidateOf, nftDataPlane, placesOf } from '@ssi/lvs-director';
import { seededRandom } from '@ssi/ports';
import { type DebianPrograms, debianPrograms } from '../harness/debian-programs.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { BenchNet, cpuSeconds, vip } from './lvs/net.ts';
import { type Bench, median, type Row } from './report.ts';

const nft = fileURLToPath(new URL('../../.tools/bin/nft', import.meta.url));
const servers = [1, 2].map(
  (n): RealServer => ({
    ...{ address: `10.1.${n}.1`, port: 8080, forward: 'masq', weight: 1, upper: 0, lower: 0 },
  }),
);
const service: VirtualService = {
  ...{ id: { protocol: 'tcp', address: vip, port: 80 }, scheduler: 'rr', flags: [], servers },
};
/** By hand, as short as can be. */
const dnat = `table ip byhand { chain pre { type nat hook prerouting priority dstnat;
  ip daddr ${vip} tcp dport 80 dnat ip addr . port to numgen inc mod 2 map { 0 : 10.1.1.1 . 8080, 1 : 10.1.2.1 . 8080 }; }; }`;

interface Figures {
  readonly perSecond: number;
  readonly p99Ms: number;
  readonly cpuUs: number;
  readonly failed: number;
}

/** What is between while it is measured, how it is ended. */
interface Between {
  readonly url: string;
  readonly process?: ChildProcess;
  end(): Promise<void>;
}

class Bed {
  readonly net = new BenchNet();
  readonly dir = mkdtempSync(`${tmpdir()}/ssi-lvs-`);
  readonly servers: ChildProcess[] = [];
  readonly programs: DebianPrograms;

  constructor(programs: DebianPrograms) {
    this.programs = programs;
  }

  get env(): NodeJS.ProcessEnv {
    return { ...process.env, LD_LIBRARY_PATH: this.programs.libraries };
  }

  spawn(where: string, name: string, args: string[]): ChildProcess {
    const argv = [this.programs.path(name), ...args];
    return this.net.start(where, argv, { env: this.env, stdio: ['ignore', 'ignore', 'inherit'] });
  }

  nginx(where: string, name: string, inside: string): ChildProcess {
    const at = `${this.dir}/${name}`;
    mkdirSync(at);
    const module = this.programs
      .path('nginx')
      .replace(/sbin\/nginx$/, 'lib/nginx/modules/ngx_stream_module.so');
    const head = `load_module ${module}; user root; daemon off; worker_processes 1; pid ${at}/pid; error_log ${at}/log;`;
    writeFileSync(`${at}/conf`, `${head} events { worker_connections 1024; }\n${inside}\n`);
    return this.spawn(where, 'nginx', ['-p', at, '-c', `${at}/conf`, '-e', `${at}/log`]);
  }

  answers = (url: string): Promise<unknown> =>
    waitUntil(
      `${url} answers`,
      () => {
        try {
          this.net.run(
            'client',
            'python3',
            '-c',
            `import urllib.request as u; u.urlopen('${url}', timeout=1)`,
          );
          return true;
        } catch {
          return false;
        }
      },
      20_000,
    );

  async measure({ url, process: between }: Between, seconds: number): Promise<Figures> {
    const counted = [...this.servers, ...(between ? [between] : [])];
    const cpu = (): number => counted.reduce((sum, child) => sum + cpuSeconds(child), 0);
    const before = cpu();
    const wrk = [this.programs.path('wrk'), '-t1', '-c32', `-d${seconds}s`, '--latency', url];
    // The shell tells what CPU wrk took; it has ended by then.
    const timed = `TIMEFORMAT='CPU %U %S'; { time ${this.net.argv('client', wrk).join(' ')}; } 2>&1`;
    const said = execFileSync('bash', ['-c', timed], { env: this.env, encoding: 'utf8' });
    return parse(said, cpu() - before, seconds);
  }

  async stop(): Promise<void> {
    await this.net.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function parse(said: string, others: number, seconds: number): Figures {
  const requests = Number(/(\d+) requests in/.exec(said)?.[1] ?? Number.NaN);
  const [, p99 = '', unit = ''] = /99%\s+([\d.]+)(us|ms|s)/.exec(said) ?? [];
  const scale = { us: 0.001, ms: 1, s: 1_000 }[unit] ?? Number.NaN;
  const bad = [...said.matchAll(/(?:connect|read|write|timeout|responses:) (\d+)/g)];
  const [, user = '', system = ''] = /CPU ([\d.]+) ([\d.]+)/.exec(said) ?? [];
  const own = Number(user) + Number(system);
  return {
    ...{ perSecond: requests / seconds, p99Ms: Number(p99) * scale },
    cpuUs: ((own + others) * 1e6) / requests,
    failed: bad.reduce((sum, m) => sum + Number(m[1]), 0),
  };
}

async function prepared(): Promise<Bed> {
  const programs = debianPrograms(['wrk', 'haproxy', 'nginx', 'libnginx-mod-stream']);
  if (!programs) throw new Error('apt-get cannot get wrk, haproxy and nginx here');
  const bed = new Bed(programs);
  try {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    for (const name of ['s1', 's2'])
      bed.servers.push(
        bed.nginx(
          name,
          name,
          `http { access_log off; keepalive_requests 1000000000; ${temporary
            .map((t) => `${t}_temp_path ${bed.dir}/${name}/${t};`)
            .join(' ')} server { listen 8080; location / { return 200 "${name}\n"; } } }`,
        ),
      );
    for (const { address } of servers) await bed.answers(`http://${address}:8080/`);
    return bed;
  } catch (error) {
    await bed.stop();
    throw error;
  }
}

const nothing = (): Promise<void> => Promise.resolve();
const url = `http://${vip}/`;

/** Each way from client to servers, by name; started anew for each measurement. */
function ways(bed: Bed): Record<string, () => Promise<Between>> {
  const inDirector = (...argv: string[]): string[] => bed.net.argv('director', argv);
  const plane = nftDataPlane({
    ...{ nft: inDirector(nft), conntrack: inDirector('cat', '/proc/net/nf_conntrack') },
  });
  const started = async (process: ChildProcess): Promise<Between> => {
    await bed.answers(url);
    return { url, process, end: () => bed.net.end(process) };
  };
  return {
    direct: async () => ({ url: 'http://10.1.1.1:8080/', end: nothing }),
    'dnat by hand': async () => {
      bed.net.run('director', nft, dnat);
      const end = async (): Promise<void> => {
        bed.net.run('director', nft, 'delete', 'table', 'ip', 'byhand');
      };
      return { url, end };
    },
    'ours, nftables': async () => {
      const list = servers.map(candidateOf);
      const places = placesOf(service, list, { random: seededRandom(1), atMs: 0 });
      const applied = await plane.apply([{ service, places }]);
      if (!applied.ok) throw new Error(applied.detail);
      const end = async (): Promise<void> => {
        await plane.clear();
      };
      return { url, end };
    },
    'ours, user space': async () => {
      const program = fileURLToPath(new URL('lvs/proxy.ts', import.meta.url));
      const argv = [process.execPath, program, JSON.stringify(service)];
      const child = bed.net.start('director', argv, { stdio: ['ignore', 'ignore', 'inherit'] });
      return started(child);
    },
    haproxy: () => {
      const config = `global\n nbthread 2\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m
listen vip\n bind ${vip}:80\n balance roundrobin
${servers.map((s, n) => ` server s${n} ${s.address}:${s.port}`).join('\n')}\n`;
      writeFileSync(`${bed.dir}/haproxy.cfg`, config);
      return started(bed.spawn('director', 'haproxy', ['-db', '-f', `${bed.dir}/haproxy.cfg`]));
    },
    'nginx stream': () => {
      rmSync(`${bed.dir}/stream`, { recursive: true, force: true });
      const upstream = servers.map((s) => `server ${s.address}:${s.port};`).join(' ');
      const inside = `stream { upstream all { ${upstream} } server { listen ${vip}:80; proxy_pass all; } }`;
      return started(bed.nginx('director', 'stream', inside));
    },
  };
}

function rowsOf(found: Record<string, Figures[]>): Row[] {
  const of = (name: string, key: keyof Figures): number =>
    median((found[name] ?? []).map((f) => f[key]));
  const ratio = (one: string, other: string, least: number): Row => {
    const value = of(one, 'perSecond') / of(other, 'perSecond');
    const target = `>= ${least}`;
    return { name: `${one} / ${other}`, value, unit: 'x', target, met: value >= least };
  };
  const cpu = of('ours, nftables', 'cpuUs') / of('haproxy', 'cpuUs');
  return [
    ...Object.keys(found).map(
      (name): Row => ({
        ...{ name, value: of(name, 'perSecond'), unit: 'requests/s' },
        note: `p99 ${of(name, 'p99Ms').toFixed(2)} ms, CPU ${of(name, 'cpuUs').toFixed(1)} us a request, ${(found[name] ?? []).reduce((n, f) => n + f.failed, 0)} failed`,
      }),
    ),
    ratio('ours, nftables', 'dnat by hand', 0.98),
    ratio('ours, nftables', 'direct', 0.8),
    ratio('ours, nftables', 'haproxy', 1.2),
    { name: 'its CPU a request / haproxy', value: cpu, unit: 'x', target: '< 1', met: cpu < 1 },
    ratio('ours, user space', 'haproxy', 0.5),
  ];
}

async function run({ quick, log }: { quick: boolean; log(line: string): void }): Promise<Row[]> {
  const bed = await prepared();
  try {
    const found: Record<string, Figures[]> = {};
    for (let round = 0; round < (quick ? 1 : 5); round++)
      for (const [name, start] of Object.entries(ways(bed))) {
        const between = await start();
        try {
          const figures = await bed.measure(between, quick ? 1 : 3);
          if (round === 0) log(`${name}: ${Math.round(figures.perSecond)} requests/s`);
          found[name] = [...(found[name] ?? []), figures];
        } finally {
          await between.end();
        }
      }
    return rowsOf(found);
  } finally {
    await bed.stop();
  }
}

export const bench: Bench = {
  name: 'lvs',
  title: 'one address: direct, a dnat rule, our data planes, HAProxy, nginx stream, by turns',
  run,
};
