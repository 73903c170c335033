// The data plane by ipvsadm, with a program that speaks as it does.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { RealServer, VirtualService } from '@ssi/contracts';
import { printRules } from '@ssi/lvs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type DataPlane, ipvsadmDataPlane } from '../src/index.ts';
import { changes, readRules } from '../src/ipvsadm-rules.ts';

const server = (n: number, more: Partial<RealServer> = {}): RealServer => ({
  ...{ address: `10.1.0.${n}`, port: 80, forward: 'route', weight: 1, upper: 0, lower: 0, ...more },
});
const service = (servers: RealServer[], more: Partial<VirtualService> = {}): VirtualService => ({
  ...{ id: { protocol: 'tcp', address: '10.9.0.1', port: 80 }, scheduler: 'wlc', flags: [] },
  ...{ servers, ...more },
});
const plan = (...services: VirtualService[]) =>
  services.map((s) => ({ service: s, places: { by: 'turn' as const, servers: [] } }));

// Each call is a process: on a machine with much other work some seconds.
describe('LVS: ipvsadm', { timeout: 120_000 }, () => {
  let dir: string;
  let file: string;
  let plane: DataPlane;
  const program = fileURLToPath(new URL('programs/ipvsadm.py', import.meta.url));
  const kernel = (): string => readFileSync(file, 'utf8');
  beforeEach(() => {
    dir = mkdtempSync(`${tmpdir()}/ssi-ipvs-`);
    file = `${dir}/kernel`;
    plane = ipvsadmDataPlane(['/usr/bin/python3', program, file]);
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  test('only what differs is sent: servers come before others go, thresholds are told again when they change', () => {
    const was = [service([server(1), server(2)])];
    const is = [service([server(2, { weight: 5 }), server(3, { forward: 'masq' })])];
    expect(changes(was, is, was).split('\n')).toEqual([
      '-e -t 10.9.0.1:80 -r 10.1.0.2:80 -g -w 5',
      '-a -t 10.9.0.1:80 -r 10.1.0.3:80 -m -w 1',
      '-d -t 10.9.0.1:80 -r 10.1.0.1:80',
      '',
    ]);
    expect(changes(was, was, was)).toBe('');
    const persistence = { timeoutS: 60, netmask: '255.255.255.0' };
    expect(changes(was, [service([server(1), server(2)], { persistence })], was)).toBe(
      '-E -t 10.9.0.1:80 -s wlc -p 60 -M 255.255.255.0\n',
    );
    const bound = [service([server(1, { upper: 9 }), server(2)])];
    expect(changes(was, bound, was)).toBe('-e -t 10.9.0.1:80 -r 10.1.0.1:80 -g -w 1 -x 9\n');
    expect(changes(was, bound, bound)).toBe('');
    expect(changes(was, [], was)).toBe('-D -t 10.9.0.1:80\n');
  });

  test('what it does not know is left out of what it reads', () => {
    const text =
      '-A -t 10.9.0.1:80 -s rr\n-A -t [fe80::1]:80 -s rr\n-a -t 10.9.0.1:80 -r 10.1.0.1:80 -m -w 3\n';
    expect(readRules(text)).toEqual([
      service([server(1, { weight: 3, forward: 'masq' })], { scheduler: 'rr' }),
    ]);
  });

  test('applied, changed, cleared; a service of somebody else stays', async () => {
    const theirs = service([server(9)], { id: { protocol: 'udp', address: '10.9.0.2', port: 53 } });
    writeFileSync(file, printRules([theirs]));
    const mark = service([server(1, { port: 0 })], { id: { protocol: 'fwmark', mark: 7 } });
    expect(await plane.apply(plan(service([server(1)]), mark))).toEqual({ ok: true });
    const next = service([server(1, { weight: 7, upper: 5 }), server(2)]);
    expect(await plane.apply(plan(next))).toEqual({ ok: true });
    expect(kernel()).toBe(printRules([theirs, next]));
    expect(await plane.clear()).toEqual({ ok: true });
    expect(kernel()).toBe(printRules([theirs]));
  });

  test('a line that is refused: everything is as it was', async () => {
    const first = service([server(1, { upper: 4 }), server(2)]);
    await plane.apply(plan(first));
    const bad = service([server(2, { weight: 9 }), server(3), server(66)]);
    expect(await plane.apply(plan(bad))).toEqual({
      ...{ ok: false, errno: 'EIO', detail: 'Memory allocation problem' },
    });
    const lines = (text: string) => text.split('\n').sort();
    expect(lines(kernel())).toEqual(lines(printRules([first])));
    const full = service([server(1, { forward: 'fullnat' })]);
    expect(await plane.apply(plan(full))).toMatchObject({ errno: 'EOPNOTSUPP' });
  });

  test('counts; a kernel without IPVS is an errno', async () => {
    await plane.apply(plan(service([server(1)])));
    expect(await plane.connections()).toEqual({
      ...{ ok: true, value: new Map([['-t 10.9.0.1:80 10.1.0.1:80', { active: 2, inactive: 3 }]]) },
    });
    const found = await plane.traffic();
    expect(found.ok && found.value.get('-t 10.9.0.1:80 10.1.0.1:80')).toEqual({
      ...{ connections: 5, inPackets: 50, outPackets: 40, inBytes: 5_000, outBytes: 200_000_000 },
    });
    const none = ipvsadmDataPlane(['/bin/sh', '-c', 'echo Can\\’t initialize ipvs >&2; exit 255']);
    expect(await none.apply(plan(service([server(1)])))).toMatchObject({ errno: 'EIO' });
    expect(await none.connections()).toMatchObject({ errno: 'EIO' });
    expect(await none.clear()).toEqual({ ok: true });
  });
});
