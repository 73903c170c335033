// The words of keepalived.conf that more than one of its blocks has, and what is wrong with them, with its line.
// [keepalived.conf(5)]
import type { Forwarding } from '@ssi/contracts';
import type { Line } from './keepalived-blocks.ts';

/** Settings that go from the virtual server down to its checkers. */
export interface Inherited {
  readonly delayLoopMs?: number;
  readonly connectTimeoutMs?: number;
  readonly retry?: number;
  readonly delayBeforeRetryMs?: number;
  readonly warmupMs?: number;
  readonly alpha?: boolean;
  readonly virtualhost?: string;
  readonly inhibitOnFailure?: boolean;
  readonly forward?: Forwarding;
  readonly weight?: number;
}

/** Known to keepalived, and of no effect here. */
const withoutEffect = [
  'smtp_alert',
  'snmp_name',
  'ha_suspend',
  'fast_recovery',
  'http_protocol',
  'tls_compliant',
];
const methods: Readonly<Record<string, Forwarding>> = { NAT: 'masq', DR: 'route', TUN: 'tunnel' };
const otherCheckers = [
  'SMTP_CHECK',
  'DNS_CHECK',
  'BFD_CHECK',
  'UDP_CHECK',
  'PING_CHECK',
  'FILE_CHECK',
];

/** Reads words, and keeps what is wrong with them. */
export class Reader {
  readonly faults: string[] = [];
  readonly leftOut: string[] = [];
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  fault(line: Line, what: string): undefined {
    this.faults.push(`${this.#name}:${line.line}: ${what}`);
    return undefined;
  }
  leave(line: Line, what: string): void {
    this.leftOut.push(`${this.#name}:${line.line}: ${what}`);
  }
  number(line: Line, min: number, max: number, at = 1): number | undefined {
    const text = line.words[at] ?? '';
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    return this.fault(line, `${line.words[0]}: ${min} to ${max}, not ${text || 'nothing'}`);
  }
  /** Seconds with fractions, as ms. */
  timer(line: Line, minMs: number): number | undefined {
    const text = line.words[1] ?? '';
    const value = /^\d+(\.\d+)?$/.test(text) ? Math.round(Number(text) * 1_000) : Number.NaN;
    if (value >= minMs && value <= 24 * 3_600_000) return value;
    return this.fault(line, `${line.words[0]}: seconds, at most a day, not ${text || 'nothing'}`);
  }
  boolean(line: Line): boolean | undefined {
    const text = line.words[1] ?? 'yes';
    if (['on', 'yes', 'true'].includes(text)) return true;
    if (['off', 'no', 'false'].includes(text)) return false;
    return this.fault(line, `${line.words[0]}: yes or no, not ${text}`);
  }
  script(line: Line): string[] | undefined {
    if (line.words.length > 2)
      return this.fault(
        line,
        `${line.words[0]}: one word or quoted text; it runs as the director’s user`,
      );
    const argv = (line.words[1] ?? '').split(/\s+/).filter(Boolean);
    return argv.length > 0 ? argv : this.fault(line, `${line.words[0]}: no program`);
  }
  method(line: Line): Forwarding | undefined {
    const [, name = '', ...more] = line.words;
    const known = more.length > 0 ? undefined : methods[name];
    return (
      known ??
      this.fault(line, `${line.words[0]}: NAT, DR or TUN, not ${[name, ...more].join(' ')}`)
    );
  }
  /** What goes down; undefined: another keyword. */
  inherited(line: Line): Inherited | undefined {
    const of = <K extends keyof Inherited>(key: K, value: Inherited[K] | undefined): Inherited =>
      value === undefined ? {} : { [key]: value };
    switch (line.words[0]) {
      case 'delay_loop':
        return of('delayLoopMs', this.timer(line, 1));
      case 'connect_timeout':
        return of('connectTimeoutMs', this.timer(line, 1));
      case 'retry':
      case 'nb_get_retry':
        return of('retry', this.number(line, 0, 1_000));
      case 'delay_before_retry':
        return of('delayBeforeRetryMs', this.timer(line, 0));
      case 'warmup':
        return of('warmupMs', this.timer(line, 0));
      case 'alpha':
        return of('alpha', this.boolean(line));
      case 'virtualhost':
        return of('virtualhost', line.words[1]);
      case 'inhibit_on_failure':
        return of('inhibitOnFailure', this.boolean(line));
      case 'lvs_method':
      case 'lb_kind':
        return of('forward', this.method(line));
      case 'weight':
        return of('weight', this.number(line, 0, 65_535));
      default:
        return undefined;
    }
  }
  /** A keyword that this block has not. */
  unknown(line: Line, where: string): void {
    const [word = ''] = line.words;
    if (withoutEffect.includes(word)) this.leave(line, `${word}: without effect here`);
    else if (otherCheckers.includes(word))
      this.fault(line, `${word}: there are TCP_CHECK, HTTP_GET, SSL_GET and MISC_CHECK`);
    else this.fault(line, `${word}: not known in ${where}`);
  }
}
