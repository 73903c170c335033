// What every service reads from its environment, and how it says that something in it is wrong.
import { fail, ok, type Reply, spellingFault } from '@ssi/contracts';
import { sampleDefault } from '@ssi/telemetry';
import { z } from 'zod';

export const serviceEnvironment = z.object({
  SSI_CLUSTER: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/),
  SSI_NODE: z.coerce.number().int().min(1).max(1023),
  SSI_NATS: z.string(),
  /** Comma list, one address for each interconnect, best first. */
  SSI_ADDRESSES: z.string().default('127.0.0.1'),
  /** Kept young while the service works, for health checks. */
  SSI_HEALTH_FILE: z.string().optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional(),
  /** Part of the ordinary traces that is kept, 0..1. */
  SSI_TRACE_SAMPLE: z.coerce.number().min(0).max(1).default(sampleDefault),
});
export type ServiceEnvironment = z.infer<typeof serviceEnvironment>;

/** EINVAL: a variable is missing or out of range, or reads like a typo of one; `detail` names it. */
export function environmentOf<T>(schema: z.ZodType<T>, env: NodeJS.ProcessEnv): Reply<T, 'EINVAL'> {
  const typo = spellingFault(env);
  if (typo) return fail('EINVAL', typo);
  const parsed = schema.safeParse(env);
  return parsed.success ? ok(parsed.data) : fail('EINVAL', z.prettifyError(parsed.error));
}
