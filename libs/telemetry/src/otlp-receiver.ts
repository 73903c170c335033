// OTLP/HTTP in, the built-in store out: so the spans of programs that know nothing of the bus show in
// `ssi trace` too. The cluster's own services do not need it: they write to the store themselves.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { fail, ok, type Reply } from '@ssi/contracts';
import { decodeOtlp } from './otlp.ts';
import type { SpanStore } from './span-store.ts';

/** Of one request, packed or unpacked. */
const bodyMaxBytes = 16 * 1024 * 1024;
/** Spans of one message to the store: far below what the bus takes. */
const batchMax = 200;

export interface OtlpReceiver {
  readonly port: number;
  counters(): { requests: number; spans: number; rejected: number; failed: number };
  close(): Promise<void>;
}

export interface OtlpReceiverOptions {
  readonly host: string;
  /** 0: any free one. The protocol's own is 4318. */
  readonly port: number;
  readonly store: Pick<SpanStore, 'publish'>;
}

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyMaxBytes) throw new Refusal(413, 'the request is too large');
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity') return body;
  if (encoding !== 'gzip') throw new Refusal(415, `content-encoding ${encoding}: gzip or none`);
  try {
    return gunzipSync(body, { maxOutputLength: bodyMaxBytes });
  } catch {
    throw new Refusal(400, 'the body cannot be unpacked');
  }
}

/** EADDRINUSE: the port is taken; EACCES: it is not for us. */
export function startOtlpReceiver(
  options: OtlpReceiverOptions,
): Promise<Reply<OtlpReceiver, 'EADDRINUSE' | 'EACCES' | 'EIO'>> {
  const counters = { requests: 0, spans: 0, rejected: 0, failed: 0 };

  async function receive(request: IncomingMessage): Promise<{ type: string; body: string }> {
    if (request.url !== '/v1/traces') throw new Refusal(404, 'only /v1/traces is here');
    if (request.method !== 'POST') throw new Refusal(405, 'POST');
    const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim() ?? '';
    const format =
      type === 'application/json'
        ? 'json'
        : type === 'application/x-protobuf'
          ? 'protobuf'
          : undefined;
    if (!format) throw new Refusal(415, 'application/json or application/x-protobuf');
    counters.requests++;
    const decoded = decodeOtlp(await bodyOf(request), format);
    if (!decoded) throw new Refusal(400, 'no ExportTraceServiceRequest');
    counters.rejected += decoded.rejected;
    try {
      for (const [traceId, spans] of Map.groupBy(decoded.spans, (s) => s.traceId))
        for (let i = 0; i < spans.length; i += batchMax)
          await options.store.publish(traceId, spans.slice(i, i + batchMax));
    } catch {
      throw new Refusal(503, 'the span store does not answer'); // the exporter tries again
    }
    counters.spans += decoded.spans.length;
    const partial = decoded.rejected > 0 && format === 'json';
    const body = partial ? { partialSuccess: { rejectedSpans: String(decoded.rejected) } } : {};
    return { type, body: format === 'json' ? JSON.stringify(body) : '' };
  }

  const server = createServer((request, response: ServerResponse) => {
    receive(request).then(
      ({ type, body }) => response.writeHead(200, { 'content-type': type }).end(body),
      (error: unknown) => {
        counters.failed++;
        const status = error instanceof Refusal ? error.status : 400;
        const text = error instanceof Error ? error.message : String(error);
        const message = JSON.stringify({ code: status, message: text });
        response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
        response.end(message);
      },
    );
  });
  return new Promise((done) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const errno = error.code === 'EADDRINUSE' || error.code === 'EACCES' ? error.code : 'EIO';
      done(fail(errno, `${options.host}:${options.port}: ${error.message}`));
    });
    server.listen(options.port, options.host, () => {
      const at = server.address();
      done(
        ok({
          port: at && typeof at === 'object' ? at.port : 0,
          counters: () => ({ ...counters }),
          close: () =>
            new Promise<void>((closed) => {
              server.close(() => closed());
              server.closeAllConnections();
            }),
        }),
      );
    });
  });
}
