// Health checks of real servers in keepalived's words: what is asked of a server, how often, and how many of a
// service's servers must live. All times in ms. [keepalived.conf(5): Virtual server(s)]
import { z } from 'zod';

const day = 24 * 3_600_000;
const port = z.int().min(1).max(65_535);
/** A program and its arguments; no shell. */
const script = z.array(z.string().max(4_096)).min(1).max(64);

const everyChecker = {
  /** From one check to the next. Default 60,000. [delay_loop] */
  delayLoopMs: z.int().min(1).max(day).optional(),
  /** Further checks after one of a living server failed. Default 1; MISC_CHECK: 0. [retry] */
  retry: z.int().min(0).max(1_000).optional(),
  /** Before each of these. Default 1,000; HTTP_GET, SSL_GET: 3,000. [delay_before_retry] */
  delayBeforeRetryMs: z.int().min(0).max(day).optional(),
  /** The first check is at a random time up to this; 0: at once. Default `delayLoopMs`. [warmup] */
  warmupMs: z.int().min(0).max(day).optional(),
  /** The server counts as down until this has succeeded. [alpha] */
  alpha: z.boolean().optional(),
};

const connection = {
  /** Default: the server's. [connect_ip] */
  address: z.ipv4().optional(),
  /** Default: the server's. [connect_port] */
  port: port.optional(),
  /** To connect, and for each piece of an answer. Default 5,000. [connect_timeout] */
  connectTimeoutMs: z.int().min(1).max(600_000).optional(),
};

const statusCode = z.int().min(100).max(599);

export const checkedUrl = z.object({
  path: z
    .string()
    .min(1)
    .max(4_096)
    .regex(/^\/[!-~]*$/, 'begins with / and has no blank'),
  /** MD5 of the body, 32 hexadecimal digits. [digest] */
  digest: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .optional(),
  /** Any of these ranges will do, both ends included. Default 200-299. [status_code] */
  statusCodes: z
    .array(z.object({ from: statusCode, to: statusCode }))
    .min(1)
    .max(100)
    .optional(),
  /** The Host that is asked for; default: the checker's, then address:port. [virtualhost] */
  virtualhost: z.string().min(1).max(255).optional(),
  /** What the body must match, as JavaScript's; looked for in its first 64 KiB. [regex] */
  regex: z.string().min(1).max(1_024).optional(),
  /** It must not match instead. [regex_no_match] */
  regexNoMatch: z.boolean().optional(),
});
export type CheckedUrl = z.infer<typeof checkedUrl>;

const get = {
  ...connection,
  ...everyChecker,
  urls: z.array(checkedUrl).min(1).max(64),
  virtualhost: z.string().min(1).max(255).optional(),
};

export const checker = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('TCP_CHECK'), ...connection, ...everyChecker }),
  z.object({ kind: z.literal('HTTP_GET'), ...get }),
  /** Over TLS; who the server is is not verified, as keepalived does not. */
  z.object({ kind: z.literal('SSL_GET'), ...get, enableSni: z.boolean().optional() }),
  z.object({
    kind: z.literal('MISC_CHECK'),
    /** Exit status 0: up. [misc_path] */
    script,
    /** Then its process group gets SIGTERM, and SIGKILL 2 s later. Default `delayLoopMs`. [misc_timeout] */
    timeoutMs: z.int().min(1).max(day).optional(),
    /** Exit status 2 to 255: up, with that less two as weight. [misc_dynamic] */
    dynamic: z.boolean().optional(),
    ...everyChecker,
  }),
]);
export type Checker = z.infer<typeof checker>;

/** What a real server has besides its address and weight. */
export const serverHealth = z.object({
  /** All must succeed. None: up as long as it is there. */
  checkers: z.array(checker).max(16),
  /** Down is weight 0 instead of gone: what it has goes on. [inhibit_on_failure] */
  inhibitOnFailure: z.boolean().optional(),
  /** Run when it comes up, goes down. [notify_up, notify_down] */
  notifyUp: script.optional(),
  notifyDown: script.optional(),
});
export type ServerHealth = z.infer<typeof serverHealth>;

export const serviceHealth = z.object({
  /**
   * Weight of living servers that the service needs. Default 1; more than all together have counts as what they have.
   * [quorum]
   */
  quorum: z.int().min(1).max(1_000_000).optional(),
  /** Gained at quorum plus this, lost below quorum less this; at most quorum less 1. Default 0. [hysteresis] */
  hysteresis: z.int().min(0).max(1_000_000).optional(),
  /** Run when it is gained, lost. [quorum_up, quorum_down] */
  quorumUp: script.optional(),
  quorumDown: script.optional(),
  /** At the end of the director servers and quorum go down, with their scripts. [omega] */
  omega: z.boolean().optional(),
});
export type ServiceHealth = z.infer<typeof serviceHealth>;
