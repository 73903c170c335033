// All of a Linux node that vproc uses, put together for main.ts and the tests on real nodes.
import type { Clock, Log } from '@ssi/ports';
import type { VprocPorts } from '../ports.ts';
import { linuxAddresses } from './addresses.linux.ts';
import { linuxAhead } from './ahead.linux.ts';
import { busAddresses } from './bus-addresses.ts';
import { guardGroups } from './control-groups.linux.ts';
import { linuxCriu } from './criu.linux.ts';
import { linuxImages, linuxRecords } from './files.linux.ts';
import { GuardClient } from './guard.linux.ts';
import { linuxHalter } from './halt.linux.ts';
import { LazyPages } from './lazy-pages.linux.ts';
import { linuxPreflight } from './preflight.linux.ts';
import { linuxProcesses } from './procfs.linux.ts';
import { linuxSpawner } from './spawn.linux.ts';
import { linuxSsisys } from './ssisys.linux.ts';
import { linuxStreamStore } from './streams.linux.ts';
import { linuxStub } from './stub.linux.ts';

export interface LinuxMachineOptions {
  /** The node's own tmpfs: guard.sock, exits, streams, images, moves. */
  readonly nodeDir: string;
  /** Where `bin/criu`, `bin/nft` and `native/ssi-*` are. */
  readonly toolsDir: string;
  /** Directory of the programs cgroup. */
  readonly cgroup: string;
  readonly clock: Clock;
  readonly log: Log;
  /** URLs of the bus. */
  readonly nats?: string;
}

export interface LinuxMachine extends VprocPorts {
  readonly guard: GuardClient;
  /** Stops the pump and the connection; programs and their streams go on, for the next vproc. */
  close(): Promise<void>;
}

export function linuxMachine(options: LinuxMachineOptions): LinuxMachine {
  const { nodeDir, toolsDir, cgroup, clock, log } = options;
  const guard = new GuardClient({ socketPath: `${nodeDir}/guard.sock`, clock });
  const procs = `${cgroup}/cgroup.procs`;
  const cgroupProcs = [procs, ...guardGroups(cgroup)];
  const stubPath = `${toolsDir}/native/ssi-stub`;
  const helpers = new Set<number>();
  const processes = linuxProcesses({ cgroupProcs: procs, nodeDir, clock, helpers });
  const streams = linuxStreamStore({ nodeDir, guard, clock, log });
  const imagesDir = `${nodeDir}/images`;
  const lazyPages = new LazyPages({
    ...{ lazyPath: `${toolsDir}/native/ssi-lazy`, imagesDir, stateDir: `${nodeDir}/lazy` },
    ...{ cgroupProcs, helpers, clock },
  });
  return {
    guard,
    processes,
    streams,
    spawner: linuxSpawner({
      ...{ spawnPath: `${toolsDir}/native/ssi-spawn`, cgroupProcs, clock },
    }),
    images: linuxImages(imagesDir),
    criu: linuxCriu({
      ...{ criuPath: `${toolsDir}/bin/criu`, nftPath: `${toolsDir}/bin/nft`, imagesDir },
      ...{ cgroupProcs, helpers, guard, clock, log, stubPath, lazyPages },
    }),
    ahead: linuxAhead({ nativeDir: `${toolsDir}/native`, imagesDir, lazyPages }),
    records: linuxRecords(`${nodeDir}/moves`),
    state: linuxRecords(`${nodeDir}/vproc`),
    stubRecords: linuxRecords(`${nodeDir}/stubs`),
    actorRecords: linuxRecords(`${nodeDir}/actors`),
    preflight: linuxPreflight(() => busAddresses(options.nats)),
    addresses: linuxAddresses({
      ...{ ipPath: `${toolsDir}/bin/ip`, nftPath: `${toolsDir}/bin/nft`, clock },
    }),
    halter: linuxHalter(clock),
    stub: linuxStub({
      stubPath,
      signalsDir: `${nodeDir}/stub-signals`,
    }),
    ssisys: linuxSsisys({ socketPath: `${nodeDir}/ssisys`, clock, log }),
    close: async () => {
      await streams.close();
      guard.close();
    },
  };
}
