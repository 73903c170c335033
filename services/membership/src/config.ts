// The environment of a membership process, checked: a typo is an error that names the variable.
import { assertSpelling } from '@ssi/contracts';
import { parseSample } from '@ssi/telemetry';
import type { QuorumOptions } from './quorum.ts';

/**
 * What becomes of a process that waits when this one is ended in good order. `ends`: it ends too. `elsewhere`:
 * it goes on, since only this one's container is replaced. `caretaker`: this is that one: it makes way for any
 * that waits.
 */
const standbys = ['ends', 'elsewhere', 'caretaker'] as const;
export type Standby = (typeof standbys)[number];

export interface Config {
  readonly cluster: string;
  readonly num: number;
  readonly name: string;
  readonly nats: string;
  readonly nodeDir: string;
  readonly stateDir: string;
  readonly addresses: readonly string[];
  readonly pidBits: 14 | 16;
  /** The node has a guard and a control group: native programs run. */
  readonly native: boolean;
  /** Contract names of the services this node needs to be UP. */
  readonly services: readonly string[];
  /** Key services that this node can run. */
  readonly keyServices: readonly string[];
  readonly quorum: QuorumOptions;
  readonly replicas: 1 | 3;
  readonly fence: string | undefined;
  readonly script: string | undefined;
  readonly standby: Standby;
  /** Kept young while this node is UP, for health checks. */
  readonly healthFile: string | undefined;
  /** Part of the ordinary traces that is kept, 0..1. */
  readonly sample: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** Folder of a service -> its contract. */
const contracts: Readonly<Record<string, string>> = {
  'cfs-client': 'cfsclient',
  'cfs-metadata': 'cfs',
  'ics-router': 'ics',
  'ipc-nameserver': 'ipc',
  'lvs-director': 'lvs',
};
const contractName = (service: string): string => contracts[service] ?? service;

export function readConfig(env: NodeJS.ProcessEnv): Config {
  assertSpelling(env);
  const need = (name: string): string => {
    const value = env[name];
    if (!value) throw new Error(`${name} is not set`);
    return value;
  };
  const whole = (name: string, text: string, min: number, max: number): number => {
    const n = Number(text);
    if (!Number.isInteger(n) || n < min || n > max)
      throw new Error(`${name}=${text}: a whole number ${min}..${max} is needed`);
    return n;
  };
  const flag = (name: string): boolean => {
    const value = env[name] ?? '0';
    if (value !== '0' && value !== '1') throw new Error(`${name}=${value}: 0 or 1 is needed`);
    return value === '1';
  };
  const list = (text: string | undefined): string[] =>
    (text ?? '')
      .split(',')
      .map((x) => x.trim())
      .filter(Boolean);
  const level = env.SSI_LOG_LEVEL ?? 'info';
  if (level !== 'debug' && level !== 'info' && level !== 'warn' && level !== 'error')
    throw new Error(`SSI_LOG_LEVEL=${level}: debug, info, warn or error is needed`);
  const sample = parseSample(env.SSI_TRACE_SAMPLE);
  if (sample === undefined)
    throw new Error(`SSI_TRACE_SAMPLE=${env.SSI_TRACE_SAMPLE}: a number 0..1 is needed`);
  const bits = env.SSI_PID_BITS ?? '16';
  if (bits !== '14' && bits !== '16') throw new Error(`SSI_PID_BITS=${bits}: 14 or 16 is needed`);
  const standby = standbys.find((s) => s === (env.SSI_STANDBY ?? 'ends'));
  if (!standby) throw new Error(`SSI_STANDBY: one of ${standbys.join(', ')} is needed`);
  const num = whole('SSI_NODE', need('SSI_NODE'), 1, 1023);
  const expected = env.SSI_EXPECTED_VOTES;
  return {
    cluster: need('SSI_CLUSTER'),
    num,
    name: env.SSI_NAME ?? `n${num}`,
    nats: need('SSI_NATS'),
    nodeDir: env.SSI_NODE_DIR ?? `/run/ssi/node/${env.SSI_CLUSTER}`,
    stateDir: need('SSI_STATE_DIR'),
    addresses: list(env.SSI_ADDRESSES),
    pidBits: bits === '14' ? 14 : 16,
    native: Boolean(env.SSI_CGROUP),
    services: list(env.SSI_SERVICES)
      .filter((s) => s !== 'membership')
      .map(contractName),
    keyServices: list(env.SSI_KEY_SERVICES).sort(),
    quorum: {
      ...(expected ? { expectedVotes: whole('SSI_EXPECTED_VOTES', expected, 1, 1023) } : {}),
      twoNode: flag('SSI_TWO_NODE'),
      ...(env.SSI_WAIT_FOR_ALL ? { waitForAll: flag('SSI_WAIT_FOR_ALL') } : {}),
      autoTieBreaker: flag('SSI_AUTO_TIE_BREAKER'),
    },
    replicas: whole('SSI_REPLICAS', env.SSI_REPLICAS ?? '1', 1, 3) === 3 ? 3 : 1,
    fence: env.SSI_FENCE || undefined,
    script: env.SSI_NODEDOWN_SCRIPT || undefined,
    standby,
    healthFile: env.SSI_HEALTH_FILE || undefined,
    sample,
    logLevel: level,
  };
}
