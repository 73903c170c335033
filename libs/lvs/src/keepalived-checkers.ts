// The checkers of a real_server block. [keepalived.conf(5): HTTP_GET, SSL_GET, TCP_CHECK, MISC_CHECK]
import { type Checker, checker } from '@ssi/contracts';
import type { Line } from './keepalived-blocks.ts';
import type { Inherited, Reader } from './keepalived-words.ts';

/** `block`: one whose first word is the name of a checker. */
export function checkerOf(reader: Reader, block: Line, above: Inherited): Checker | undefined {
  const [kind = ''] = block.words;
  const isGet = kind === 'HTTP_GET' || kind === 'SSL_GET';
  let own: Inherited = above;
  const more: Record<string, unknown> = {};
  const urls: unknown[] = [];
  for (const line of block.block ?? []) {
    const [word = '', value = ''] = line.words;
    const inherited = reader.inherited(line);
    if (inherited) own = { ...own, ...inherited };
    else if (word === 'connect_ip' && kind !== 'MISC_CHECK') more.address = value;
    else if (word === 'connect_port' && kind !== 'MISC_CHECK')
      more.port = reader.number(line, 1, 65_535);
    else if (word === 'url' && isGet) urls.push(urlOf(reader, line));
    else if (word === 'enable_sni' && kind === 'SSL_GET') more.enableSni = reader.boolean(line);
    else if (word === 'misc_path' && kind === 'MISC_CHECK') more.script = reader.script(line);
    else if (word === 'misc_timeout' && kind === 'MISC_CHECK')
      more.timeoutMs = reader.timer(line, 1);
    else if (word === 'misc_dynamic' && kind === 'MISC_CHECK') more.dynamic = true;
    else reader.unknown(line, kind);
  }
  const { delayLoopMs, retry, delayBeforeRetryMs, warmupMs, alpha, connectTimeoutMs } = own;
  const parsed = checker.safeParse({
    ...{ kind, delayLoopMs, retry, delayBeforeRetryMs, warmupMs, alpha },
    ...(kind !== 'MISC_CHECK' && { connectTimeoutMs }),
    ...(isGet && { urls, virtualhost: own.virtualhost }),
    ...more,
  });
  // Without what is undefined: that the model means by a field that is not there.
  if (parsed.success) return JSON.parse(JSON.stringify(parsed.data));
  const [issue] = parsed.error.issues;
  return reader.fault(block, `${kind}: ${issue?.path.join('.')}: ${issue?.message}`);
}

function urlOf(reader: Reader, block: Line): unknown {
  const url: Record<string, unknown> = {};
  for (const line of block.block ?? []) {
    const [word = '', value = ''] = line.words;
    if (word === 'path' || word === 'virtualhost') url[word] = value;
    else if (word === 'digest') url.digest = value.toLowerCase();
    else if (word === 'regex') url.regex = value;
    else if (word === 'regex_no_match') url.regexNoMatch = true;
    else if (word === 'status_code') url.statusCodes = line.words.slice(1).map(rangeOf);
    else reader.unknown(line, 'url');
  }
  return url;
}

const rangeOf = (text: string): { from: number; to: number } => {
  const [from = '', to = from] = text.split('-');
  return { from: Number(from || Number.NaN), to: Number(to || Number.NaN) };
};
