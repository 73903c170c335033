// What this machine says of itself when its node joins.
import { readFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import { clms, ics, type NodeFacts, vproc } from '@ssi/contracts';

export function machineFacts(q: {
  addresses: readonly string[];
  native: boolean;
  keyServices: readonly string[];
}): Omit<NodeFacts, 'heartbeatPorts'> {
  return {
    addresses: [...q.addresses],
    cpus: Math.max(1, cpus().length),
    memBytes: totalmem(),
    kernel: release(),
    arch: arch(),
    cpuFlags: cpuFlags(),
    native: q.native,
    keyServices: [...q.keyServices],
    versions: Object.fromEntries([clms, ics, vproc].map((c) => [c.name, [c.version, c.version]])),
  };
}

/** x86 says flags, aarch64 Features. [proc_cpuinfo(5)] */
function cpuFlags(): string[] {
  try {
    const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(
      readFileSync('/proc/cpuinfo', 'utf8'),
    )?.[1];
    return (line ?? '').split(/\s+/).filter(Boolean).sort();
  } catch {
    return [];
  }
}
