// How one server of one service is named, for its counts.
import { serverText, serviceText } from '@ssi/lvs';
import type { Planned } from './ports.ts';

export const linkKey = ({ service }: Pick<Planned, 'service'>, at: number): string => {
  const server = service.servers[at];
  return `${serviceText(service.id)} ${server ? serverText(server) : ''}`;
};
