// A process as the nodes tell each other and their clients of it. [proc_pid_stat(5), wait(2)]
import { z } from 'zod';
import { nodeNum, pid } from './ids.ts';

/** What ps(1) would say, plus `moving` (between two nodes) and `frozen` (its node lost its lease). */
export const processState = z.enum([
  'running',
  'sleeping',
  'disk',
  'stopped',
  'traced',
  'zombie',
  'idle',
  'moving',
  'frozen',
  'exited',
]);

export const processInfo = z.object({
  pid,
  /** 0: its parent is outside the table (the node's init). */
  ppid: z.int().min(0),
  pgid: z.int().min(0),
  sid: z.int().min(0),
  /** Node it executes on. */
  node: nodeNum,
  /** Node whose range the pid is from, or its surrogate now. */
  origin: nodeNum,
  state: processState,
  kind: z.enum(['native', 'actor']),
  command: z.string(),
  uid: z.int().min(0),
  threads: z.int().min(0),
  /** Resident set, bytes. */
  rssBytes: z.int().min(0),
  /** CPU time used, ms. */
  cpuMs: z.number().min(0),
  /** Committed moves so far. */
  hop: z.int().min(0),
});
export type ProcessInfo = z.infer<typeof processInfo>;

export const exitStatus = z.object({
  pid,
  /** exit(3) code, null when a signal ended it. */
  code: z.int().min(0).max(255).nullable(),
  /** Signal name as kill -l spells it (`SIGTERM`), null when it exited. */
  signal: z.string().nullable(),
  /** Why, where it was not the program's own end: EHOSTDOWN, its node died. */
  reason: z.enum(['EHOSTDOWN']).optional(),
  rusage: z
    .object({ userMs: z.number(), systemMs: z.number(), maxRssBytes: z.number() })
    .optional(),
});
export type ExitStatus = z.infer<typeof exitStatus>;

/** A process as the nodes tell each other: enough for origin tables and their rebuild. */
export const originEntry = z.object({
  pid,
  ppid: z.int().min(0),
  pgid: z.int().min(0),
  sid: z.int().min(0),
  /** Thread ids other than the pid, of the same range: their numbers are held too. */
  tids: z.array(pid),
  kind: z.enum(['native', 'actor']),
  node: nodeNum,
  hop: z.int().min(0),
  /** Which user of the number: grows with each reuse of the pid. Absent: 0. */
  born: z.int().min(0).optional(),
  /** Whose it is: who started it, for one that `run` started, else as whom it runs. Absent: not known. */
  uid: z.int().min(0).optional(),
  /** `doubt`: this side of a move cannot say who runs it; signals and waits queue. */
  phase: z.enum(['live', 'doubt', 'exited']),
  exit: exitStatus.optional(),
});
export type OriginEntry = z.infer<typeof originEntry>;
