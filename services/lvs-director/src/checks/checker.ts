// One checker of one real server: what a result means and when the next check is. Each kind has the rule of its
// counterpart in keepalived. [keepalived: check_tcp.c tcp_epilog, check_http.c epilog, check_misc.c
// misc_check_child_thread, check_data.c validate_check_config]
import type { CheckedUrl, Checker } from '@ssi/contracts';
import type { ProbeResult } from '../ports.ts';

export interface CheckerState {
  readonly isUp: boolean;
  readonly hasRun: boolean;
  /** Failures in a row that did not count yet. */
  readonly retries: number;
  /** HTTP_GET, SSL_GET: one address is asked for at each check; this one is next. */
  readonly url: number;
  /** This one failed: it is asked for until it succeeds, then all of them in their order. */
  readonly failedUrl: boolean;
  /** What MISC_CHECK with `dynamic` says; undefined: the server's own. */
  readonly weight: number | undefined;
  /** Why the last one failed; empty: it did not. */
  readonly reason: string;
}

export interface CheckerStep {
  readonly state: CheckerState;
  /** Whether the server is told of it: a change, or the first result. */
  readonly tells: 'up' | 'down' | undefined;
  /** Until the next check, from now. */
  readonly nextInMs: number;
}

export interface CheckerTimes {
  readonly delayLoopMs: number;
  readonly retry: number;
  readonly delayBeforeRetryMs: number;
  readonly warmupMs: number;
}

export function timesOf(c: Checker): CheckerTimes {
  const delayLoopMs = c.delayLoopMs ?? 60_000;
  const isGet = c.kind === 'HTTP_GET' || c.kind === 'SSL_GET';
  return {
    delayLoopMs,
    retry: c.retry ?? (c.kind === 'MISC_CHECK' ? 0 : 1),
    delayBeforeRetryMs: c.delayBeforeRetryMs ?? (isGet ? 3_000 : 1_000),
    warmupMs: c.warmupMs ?? delayLoopMs,
  };
}

/** Up until shown otherwise, or with alpha down; the first failure is enough. */
export const newChecker = (c: Checker): CheckerState => ({
  ...{ isUp: !c.alpha, hasRun: false, retries: timesOf(c).retry },
  ...{ url: 0, failedUrl: false, weight: undefined, reason: '' },
});

/** After a check that began `tookMs` ago. */
export function afterCheck(
  c: Checker,
  state: CheckerState,
  result: ProbeResult,
  tookMs: number,
): CheckerStep {
  const reason = faultOf(c, state, result) ?? '';
  const known = { ...state, reason, hasRun: true };
  if (c.kind === 'TCP_CHECK') return afterConnect(c, state, known);
  if (c.kind === 'MISC_CHECK') return afterScript(c, state, known, result, tookMs);
  return afterGet(c, state, known);
}

const told = (was: CheckerState, isUp: boolean): CheckerStep['tells'] =>
  was.isUp !== isUp || !was.hasRun ? (isUp ? 'up' : 'down') : undefined;

function afterConnect(c: Checker, was: CheckerState, known: CheckerState): CheckerStep {
  const { delayLoopMs, retry, delayBeforeRetryMs } = timesOf(c);
  const isUp = known.reason === '';
  if (!isUp && was.isUp && was.retries < retry) {
    const state = { ...known, retries: was.retries + 1 };
    return { state, tells: undefined, nextInMs: delayBeforeRetryMs };
  }
  const state = { ...known, isUp, retries: 0 };
  return { state, tells: told(was, isUp), nextInMs: delayLoopMs };
}

function afterScript(
  c: Checker & { kind: 'MISC_CHECK' },
  was: CheckerState,
  known: CheckerState,
  result: ProbeResult,
  tookMs: number,
): CheckerStep {
  const { delayLoopMs, retry, delayBeforeRetryMs } = timesOf(c);
  // From the beginning of the last one on.
  const rest = (ms: number): number => Math.max(0, ms - tookMs);
  if (known.reason === '') {
    const code = result.ok && result.kind === 'script' ? result.exitCode : 0;
    const weight = c.dynamic && code >= 2 ? code - 2 : undefined;
    const state = { ...known, isUp: true, retries: 0, weight };
    return { state, tells: told(was, true), nextInMs: rest(delayLoopMs) };
  }
  if ((was.isUp || !was.hasRun) && was.retries < retry) {
    const state = { ...known, retries: was.retries + 1 };
    return { state, tells: undefined, nextInMs: rest(delayBeforeRetryMs) };
  }
  const state = { ...known, isUp: false, retries: 0, weight: undefined };
  return { state, tells: told(was, false), nextInMs: rest(delayLoopMs) };
}

function afterGet(
  c: Checker & { kind: 'HTTP_GET' | 'SSL_GET' },
  was: CheckerState,
  known: CheckerState,
): CheckerStep {
  const { delayLoopMs, retry, delayBeforeRetryMs } = timesOf(c);
  if (known.reason === '') {
    const last = was.url === c.urls.length - 1;
    const isDone = last && !was.failedUrl;
    const url = was.failedUrl || last ? 0 : was.url + 1;
    // Not known to be up before every address has been asked for.
    const hasRun = isDone || was.hasRun;
    const retries = hasRun ? 0 : retry;
    const state = { ...known, url, failedUrl: false, hasRun, retries, isUp: isDone || was.isUp };
    return { state, tells: isDone ? told(was, true) : undefined, nextInMs: delayLoopMs };
  }
  const retries = was.retries + 1;
  if (retries <= retry) {
    const state = { ...known, hasRun: was.hasRun, retries };
    const nextInMs = was.failedUrl ? Math.max(delayBeforeRetryMs, delayLoopMs) : delayBeforeRetryMs;
    return { state, tells: undefined, nextInMs };
  }
  const state = { ...known, isUp: false, failedUrl: true, retries };
  const nextInMs = Math.max(delayBeforeRetryMs, delayLoopMs);
  return { state, tells: told(was, false), nextInMs };
}

/** Why a result is none to be content with; undefined: it is. */
function faultOf(c: Checker, state: CheckerState, result: ProbeResult): string | undefined {
  if (!result.ok) return result.reason;
  if (result.kind === 'script') {
    const isWeight = c.kind === 'MISC_CHECK' && c.dynamic && result.exitCode >= 2;
    return result.exitCode === 0 || isWeight ? undefined : `exit status ${result.exitCode}`;
  }
  if (result.kind === 'http' && (c.kind === 'HTTP_GET' || c.kind === 'SSL_GET')) {
    const url = c.urls[state.url];
    return url && faultOfAnswer(url, result);
  }
  return undefined;
}

const usual = [{ from: 200, to: 299 }];

function faultOfAnswer(
  url: CheckedUrl,
  { status, md5, text }: { status: number; md5: string; text: string },
): string | undefined {
  if (!(url.statusCodes ?? usual).some(({ from, to }) => status >= from && status <= to))
    return `${url.path}: status ${status}`;
  if (url.digest !== undefined && url.digest !== md5) return `${url.path}: digest ${md5}`;
  if (url.regex !== undefined && new RegExp(url.regex).test(text) === (url.regexNoMatch ?? false))
    return `${url.path}: body ${url.regexNoMatch ? 'matches' : 'does not match'} ${url.regex}`;
  return undefined;
}
