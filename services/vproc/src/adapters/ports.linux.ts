// All ports of one real node, wired together: what main.ts hands to the service.
import type { Clock, Log } from '@ssi/ports';
import type { VprocPorts } from '../ports.ts';
import { linuxCriu } from './criu.linux.ts';
import { linuxImages, linuxRecords } from './files.linux.ts';
import { GuardClient } from './guard.linux.ts';
import { noNativePorts } from './ports.none.ts';
import { linuxPreflight } from './preflight.linux.ts';
import { linuxProcesses } from './procfs.linux.ts';
import { linuxSpawner } from './spawn.linux.ts';
import { linuxStreamStore } from './streams.linux.ts';

export interface LinuxNode {
  readonly nodeDir: string;
  /** The programs cgroup; absent: a node without a guard. */
  readonly cgroup?: string;
  /** Folder of the project's own programs: bin/criu, bin/nft, native/ssi-spawn. */
  readonly tools: string;
  readonly clock: Clock;
  readonly log: Log;
}

export function linuxPorts(q: LinuxNode): { ports: VprocPorts; close(): Promise<void> } {
  const { nodeDir, tools, clock, log } = q;
  const records = {
    records: linuxRecords(`${nodeDir}/moves`),
    state: linuxRecords(`${nodeDir}/processes`),
  };
  if (!q.cgroup) return { ports: noNativePorts(records), close: async () => {} };
  const guard = new GuardClient({ socketPath: `${nodeDir}/guard.sock`, clock });
  const procs = `${q.cgroup}/cgroup.procs`;
  const processes = linuxProcesses({ cgroupProcs: procs, nodeDir, clock });
  const streams = linuxStreamStore({ nodeDir, guard, clock, log });
  const imagesDir = `${nodeDir}/images`;
  const criu = linuxCriu({
    criuPath: `${tools}/bin/criu`,
    nftPath: `${tools}/bin/nft`,
    imagesDir,
    cgroupProcs: [procs],
    guard,
    clock,
    log,
  });
  const ports: VprocPorts = {
    ...records,
    guard,
    processes,
    spawner: linuxSpawner({
      spawnPath: `${tools}/native/ssi-spawn`,
      cgroupProcs: [procs],
      processes,
    }),
    streams,
    images: linuxImages(imagesDir),
    criu,
    preflight: linuxPreflight(),
    stub: noNativePorts(records).stub,
  };
  return { ports, close: () => streams.close() };
}
